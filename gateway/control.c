/* control.c — see control.h. */
#include "control.h"

#include "admin/admin_server.h"
#include "base/mem.h"

struct control {
    struct loop *loop;
    struct config *config; /* borrowed */
    struct worker_view *views;
    struct process_facts facts;
    struct buf connect_url;
    struct admin_server *server; /* NULL: the configuration has none */
};

/* The first exec host is where clients connect, unless the configuration knows better. */
static const char *connect_url_of(const struct config *config, struct buf *url)
{
    const char *host = config->exec_hosts.count > 0 ? config->exec_hosts.items[0] : "localhost";

    buf_clear(url);
    if (config->admin_connect_url != NULL)
        buf_append(url, slice_from_string(config->admin_connect_url));
    else
        buf_printf(url, "https://%s", strcmp(host, "*") == 0 ? "localhost" : host);
    while (url->len > 0 && slice_ends_with(buf_slice(url), SLICE("/")))
        url->len--;
    return buf_text(url);
}

struct records_options control_records_options(const struct config *config, struct buf *url)
{
    const struct config_key *key = config->admin_signing_key;
    struct records_options options = {
        .prefix = config->redis.prefix != NULL ? config->redis.prefix : "",
        .issuer = config->token.issuer,
        .exec_audience = config->token.exec_audience,
        .access_audience = config->token.access_audience,
        .ports_domains = config->ports_domains.items,
        .ports_domain_count = config->ports_domains.count,
        .reserved_handles = config->ports_reserved.items,
        .reserved_handle_count = config->ports_reserved.count,
        .connect_url = connect_url_of(config, url),
    };

    if (key != NULL)
        options.signing_key =
            (struct key_options){ key->kid, (enum token_algorithm)key->algorithm, key->file };
    return options;
}

/* What the files say now is what was loaded just now. */
static void read_files(struct control *control)
{
    struct process_facts *facts = &control->facts;
    const struct config *config = control->config;

    mem_free(facts->keys);
    mem_free(facts->certificates);
    facts->key_count = config->key_count;
    facts->keys = mem_zeroed((config->key_count + 1) * sizeof(*facts->keys));
    for (size_t i = 0; i < config->key_count; i++) {
        const struct key_options key = { config->keys[i].kid,
                                         (enum token_algorithm)config->keys[i].algorithm,
                                         config->keys[i].file };

        process_facts_read_key(&key, &facts->keys[i]);
    }
    facts->certificate_count = config->certificate_count;
    facts->certificates =
        mem_zeroed((config->certificate_count + 1) * sizeof(*facts->certificates));
    for (size_t i = 0; i < config->certificate_count; i++)
        process_facts_read_certificate(config->certificates[i].certificate_file,
                                       &facts->certificates[i]);
    facts->config_file = config->file;
    facts->reloaded_wall_s = loop_clock(control->loop)->wall_ms / 1000;
}

static enum status start_server(struct control *control, const struct control_options *options)
{
    struct config *config = control->config;

    if (config->admin_address.len == 0)
        return STATUS_OK;

    struct admin_options admin = {
        .address = config->admin_address,
        .inherited_fd = options->inherited_fd,
        .secret = config->admin_secret,
        .facts = &control->facts,
        .store = config->routes == CONFIG_ROUTES_REDIS
                     ? route_store_redis_create(control->loop, &config->redis)
                     : NULL,
        .records = control_records_options(config, &control->connect_url),
        .drain = options->drain,
        .arg = options->arg,
    };
    enum status status = admin_server_create(control->loop, &admin, &control->server);
    char text[ADDRESS_TEXT_BYTES];

    if (status == STATUS_OK)
        log_info("admin: listening at=%s",
                 address_text(admin_server_address(control->server), text));
    return status;
}

enum status control_create(struct loop *loop, const struct control_options *options,
                           struct control **out_control)
{
    struct control *control = mem_zeroed(sizeof(*control));
    struct process_facts *facts = &control->facts;

    control->loop = loop;
    control->config = options->config;
    control->views = mem_zeroed(options->worker_count * sizeof(*control->views));
    for (size_t i = 0; i < options->worker_count; i++)
        control->views[i] = worker_view(options->workers[i]);
    facts->workers = control->views;
    facts->worker_count = options->worker_count;
    facts->listeners = options->listeners;
    facts->listener_count = options->config->listener_count;
    facts->started_wall_s = loop_clock(loop)->wall_ms / 1000;
    read_files(control);
    enum status status = start_server(control, options);

    if (status == STATUS_OK)
        *out_control = control;
    else
        control_destroy(&control);
    return status;
}

void control_reloaded(struct control *control, struct config *config)
{
    control->config = config;
    control->facts.reloads++;
    control->facts.last_reload_failed = false;
    read_files(control);
    if (control->server != NULL) {
        const struct records_options records =
            control_records_options(config, &control->connect_url);

        admin_server_set(control->server, config->admin_secret, &records);
    }
}

void control_reload_failed(struct control *control)
{
    control->facts.reload_failures++;
    control->facts.last_reload_failed = true;
}

void control_pressure(struct control *control, unsigned level)
{
    struct process_facts *facts = &control->facts;

    for (unsigned reached = facts->memory_pressure + 1; reached <= level; reached++)
        facts->memory_pressures[reached]++;
    facts->memory_pressure = level;
}

void control_draining(struct control *control)
{
    control->facts.is_draining = true;
}

int control_fd(const struct control *control)
{
    return control->server != NULL ? admin_server_fd(control->server) : -1;
}

void control_passed_on(struct control *control)
{
    if (control->server != NULL)
        admin_server_close_door(control->server);
}

void control_destroy(struct control **control)
{
    struct control *c = *control;

    if (c == NULL)
        return;
    admin_server_destroy(&c->server);
    mem_free(c->facts.keys);
    mem_free(c->facts.certificates);
    buf_deinit(&c->connect_url);
    mem_free(c->views);
    mem_free(c);
    *control = NULL;
}
