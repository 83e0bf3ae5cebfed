/* admin/records_port.c — published ports: one host record each, and the set of a computer's hosts. A
 * host that belongs to another computer is never taken over. */
#include "admin/records_job.h"

struct publishing {
    struct slice label, visibility, kinds, protocol, via, host_header;
    struct slice domain, hostname;
    uint64_t port;
};

/* ---- the answer ---- */

static void add_port(struct records_job *job, struct slice hostname, const struct redis_reply *hash)
{
    static const char *const texts[] = { "protocol", "via", "kinds", "host_header" };
    struct slice rest = hostname;
    struct slice first = slice_cut(&rest, '.');
    struct slice visibility = records_field(hash, "visibility");
    size_t split = 0;

    while (split + 1 < first.len && (first.ptr[split] != '-' || first.ptr[split + 1] != '-'))
        split++;
    buf_printf(&job->answer, "{\"port\":%.*s,", SLICE_ARGS(records_field(hash, "port")));
    if (split + 1 < first.len) {
        records_add_text(&job->answer, "label", slice_first(first, split));
        buf_append_byte(&job->answer, ',');
    }
    records_add_text(&job->answer, "hostname", hostname);
    buf_append(&job->answer, SLICE(",\"url\":\"https://"));
    buf_append_json_text(&job->answer, hostname);
    buf_append(&job->answer, SLICE("\","));
    records_add_text(&job->answer, "visibility",
                     visibility.len > 0 ? visibility : SLICE("session"));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct slice value = records_field(hash, texts[i]);

        if (value.len == 0)
            continue;
        buf_append_byte(&job->answer, ',');
        records_add_text(&job->answer, texts[i], value);
    }
    buf_append_byte(&job->answer, '}');
}

static void read_host(struct records_job *job, struct slice hostname, records_step_fn *next)
{
    const struct slice words[] = { SLICE("HGETALL"), records_key(job, RECORD_HOST, hostname) };

    records_send(job, next, words, 2);
}

static bool is_of_computer(const struct records_job *job, const struct redis_reply *hash)
{
    uint64_t port;

    return hash->item_count > 0 && slice_equal(records_field(hash, "computer"), job->computer) &&
           slice_to_u64(records_field(hash, "port"), &port);
}

/* ---- publishing: computer ▸ is the host free? ▸ index ▸ record ---- */

static void on_read_back(struct records_job *job, const struct redis_reply *reply)
{
    const struct publishing *p = job->work;

    if (!is_of_computer(job, reply)) {
        records_fail(job, 409, "aborted", "the host was changed meanwhile");
        return;
    }
    buf_append(&job->answer, SLICE("{\"port\":"));
    add_port(job, p->hostname, reply);
    buf_append_byte(&job->answer, '}');
    records_done(job, 201);
}

static void on_written(struct records_job *job, const struct redis_reply *reply)
{
    const struct publishing *p = job->work;

    (void)reply;
    read_host(job, p->hostname, on_read_back);
}

static size_t fields_of(struct records_job *job, const struct publishing *p,
                        struct record_field *fields)
{
    const struct record_field all[] = {
        { SLICE("computer"), job->computer },
        { SLICE("port"), arena_printf(&job->arena, "%u", (unsigned)p->port) },
        { SLICE("protocol"), p->protocol },
        { SLICE("via"), p->via },
        { SLICE("visibility"), p->visibility },
        { SLICE("kinds"), p->kinds },
        { SLICE("host_header"), p->host_header },
    };

    memcpy(fields, all, sizeof(all));
    return sizeof(all) / sizeof(all[0]);
}

static void write_record(struct records_job *job, const struct redis_reply *reply)
{
    const struct publishing *p = job->work;
    struct record_field fields[7];
    size_t count = fields_of(job, p, fields);
    struct slice words[2 + 2 * 7] = { SLICE("HSET"), records_key(job, RECORD_HOST, p->hostname) };

    (void)reply;
    for (size_t i = 0; i < count; i++) {
        words[2 + 2 * i] = fields[i].name;
        words[3 + 2 * i] = fields[i].value;
    }
    records_send(job, on_written, words, 2 + 2 * count);
}

static void on_host(struct records_job *job, const struct redis_reply *reply)
{
    const struct publishing *p = job->work;
    const struct slice words[] = { SLICE("SADD"), records_set_key(job, "ports"), p->hostname };

    if (reply->item_count > 0 && !slice_equal(records_field(reply, "computer"), job->computer))
        records_fail(job, 409, "already_exists", "%.*s belongs to another computer",
                     SLICE_ARGS(p->hostname));
    else
        records_send(job, write_record, words, 3);
}

static void on_computer(struct records_job *job, const struct redis_reply *reply)
{
    struct publishing *p = job->work;
    struct slice handle = records_field(reply, "handle");
    struct buf name = { 0 };

    if (reply->item_count == 0)
        records_fail(job, 404, "not_found", "no such computer");
    else if (handle.len == 0)
        records_fail(job, 409, "failed_precondition", "the computer has no handle");
    else if (records_handle_wrong(job, handle) != NULL)
        records_fail(job, 409, "failed_precondition", "the computer's handle: %s",
                     records_handle_wrong(job, handle));
    else if (!port_hostname(p->label, handle, p->domain, &name))
        records_fail(job, 400, "invalid_argument",
                     "label and handle together are longer than a DNS label");
    else {
        p->hostname = arena_copy(&job->arena, buf_slice(&name));
        read_host(job, p->hostname, on_host);
    }
    buf_deinit(&name);
}

static bool read_body(struct records_job *job, struct publishing *p)
{
    static const char *const names[] = { "port",     "label", "subdomain",   "visibility", "kinds",
                                         "protocol", "via",   "host_header", "domain",     NULL };
    const char *wrong;

    if (!records_body_only(job, names) || !records_body_number(job, "port", 1, 65535, &p->port) ||
        !records_body_text(job, "subdomain", &p->label) ||
        !records_body_text(job, "label", &p->label) ||
        !records_body_text(job, "visibility", &p->visibility) ||
        !records_body_text(job, "kinds", &p->kinds) ||
        !records_body_text(job, "protocol", &p->protocol) ||
        !records_body_text(job, "via", &p->via) ||
        !records_body_text(job, "host_header", &p->host_header) ||
        !records_body_domain(job, &p->domain))
        return false;
    if (p->port == 0) {
        records_fail(job, 400, "invalid_argument", "port: expected a number from 1 to 65535");
        return false;
    }
    if (p->label.len == 0)
        p->label = arena_printf(&job->arena, "%u", (unsigned)p->port);
    wrong = port_label_wrong(p->label, (uint16_t)p->port);
    if (wrong != NULL)
        records_fail(job, 400, "invalid_argument", "label: %s", wrong);
    return wrong == NULL;
}

void records_port_create(struct records_job *job)
{
    struct publishing *p = arena_alloc(&job->arena, sizeof(*p));
    const struct slice words[] = { SLICE("HGETALL"),
                                   records_key(job, RECORD_COMPUTER, job->computer) };
    struct record_field fields[7];

    *p = (struct publishing){ 0 };
    job->work = p;
    if (job->records->options.ports_domain_count == 0)
        records_fail(job, 409, "failed_precondition", "ports.domain is not configured");
    else if (read_body(job, p) &&
             records_check(job, RECORD_HOST, SLICE("new"), fields, fields_of(job, p, fields)))
        records_send(job, on_computer, words, 2);
}

/* ---- reading and taking back: every host of the computer is read, those that match are used ---- */

struct walk {
    struct slice *hosts;
    size_t count, at, match_count;
    bool is_deleting;
};

static bool matches(const struct records_job *job, struct slice hostname,
                    const struct redis_reply *hash)
{
    struct slice item = job->item;

    if (item.len == 0 || slice_equal(records_field(hash, "port"), item) ||
        slice_equal(hostname, item))
        return true;
    return slice_starts_with(hostname, item) &&
           slice_starts_with(slice_skip(hostname, item.len), SLICE("--"));
}

static void end_walk(struct records_job *job, const struct redis_reply *reply)
{
    const struct walk *walk = job->work;

    (void)reply;
    if (job->item.len > 0 && walk->match_count == 0) {
        records_fail(job, 404, "not_found", "no such port of this computer");
        return;
    }
    buf_printf(&job->answer, "]%s}", walk->is_deleting ? ",\"deleted\":true" : "");
    records_done(job, 200);
}

static void leave_set(struct records_job *job, const struct redis_reply *reply)
{
    const struct walk *walk = job->work;
    struct slice *words = arena_alloc(&job->arena, (2 + walk->match_count) * sizeof(*words));

    (void)reply;
    words[0] = SLICE("SREM");
    words[1] = records_set_key(job, "ports");
    memcpy(words + 2, walk->hosts, walk->match_count * sizeof(*words));
    records_send(job, end_walk, words, 2 + walk->match_count);
}

/* The hosts that matched were moved to the front. */
static void delete_matches(struct records_job *job)
{
    const struct walk *walk = job->work;
    struct slice *words = arena_alloc(&job->arena, (1 + walk->match_count) * sizeof(*words));

    words[0] = SLICE("DEL");
    for (size_t i = 0; i < walk->match_count; i++)
        words[1 + i] = records_key(job, RECORD_HOST, walk->hosts[i]);
    records_send(job, leave_set, words, 1 + walk->match_count);
}

static void on_walked(struct records_job *job, const struct redis_reply *reply)
{
    struct walk *walk = job->work;
    struct slice hostname = walk->hosts[walk->at++];

    if (is_of_computer(job, reply) && matches(job, hostname, reply)) {
        if (walk->match_count > 0)
            buf_append_byte(&job->answer, ',');
        add_port(job, hostname, reply);
        walk->hosts[walk->match_count++] = hostname;
    }
    if (walk->at < walk->count)
        read_host(job, walk->hosts[walk->at], on_walked);
    else if (walk->is_deleting && walk->match_count > 0)
        delete_matches(job);
    else
        end_walk(job, NULL);
}

static void on_set(struct records_job *job, const struct redis_reply *reply)
{
    struct walk *walk = job->work;

    walk->hosts = records_members(job, reply, RECORDS_LIST_MAX, &walk->count);
    buf_append(&job->answer, SLICE("{\"ports\":["));
    if (walk->count > 0)
        read_host(job, walk->hosts[0], on_walked);
    else
        end_walk(job, NULL);
}

static void start_walk(struct records_job *job, bool is_deleting)
{
    const struct slice words[] = { SLICE("SMEMBERS"), records_set_key(job, "ports") };
    struct walk *walk = arena_alloc(&job->arena, sizeof(*walk));

    *walk = (struct walk){ .is_deleting = is_deleting };
    job->work = walk;
    records_send(job, on_set, words, 2);
}

void records_port_list(struct records_job *job)
{
    start_walk(job, false);
}

void records_port_get(struct records_job *job)
{
    start_walk(job, false);
}

void records_port_delete(struct records_job *job)
{
    start_walk(job, true);
}
