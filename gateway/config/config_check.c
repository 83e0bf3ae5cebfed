/* config/config_check.c — what belongs together is compared, what the file names is opened:
 * afterwards a config can only fail at bind(2). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/config_schema.h"

static enum status check_listeners(const struct config_reading *reading)
{
    struct config *config = reading->config;
    bool wants_tls = false;

    if (config->listener_count == 0)
        return config_wrong(reading, config_mark_of(reading, "listeners"),
                            "listeners: expected at least one");
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];

        wants_tls |= listener->tls;
        if (listener->proxy_protocol && listener->proxy_protocol_from.count == 0)
            return config_wrong(reading, listener->mark,
                                "listeners: proxy_protocol needs proxy_protocol_from (who may "
                                "announce a client's address)");
        if (!listener->proxy_protocol && listener->proxy_protocol_from.count > 0)
            return config_wrong(reading, listener->mark,
                                "listeners: proxy_protocol_from without proxy_protocol: true");
    }
    if (wants_tls && config->certificate_count == 0)
        return config_wrong(reading, config_mark_of(reading, "listeners"),
                            "listeners: tls: true needs tls.certificates");
    return STATUS_OK;
}

static enum status build_server_tls(const struct config_reading *reading)
{
    struct config *config = reading->config;
    struct buf words = { 0 };
    struct tls_server_options options = { .certificate_count = config->certificate_count,
                                          .offer_h2 = true,
                                          .messages_per_s = config->tls_messages,
                                          .ticket_key_file = config->ticket_key_file };

    if (config->certificate_count == 0)
        return STATUS_OK;

    struct tls_certificate *certificates =
        mem_zeroed(config->certificate_count * sizeof(*certificates));

    for (size_t i = 0; i < config->certificate_count; i++) {
        certificates[i].certificate_file = config->certificates[i].certificate_file;
        certificates[i].key_file = config->certificates[i].key_file;
    }
    options.certificates = certificates;
    enum status status = tls_context_create_server(&options, &words, &config->tls);

    if (status != STATUS_OK)
        status = config_wrong(reading, config->certificates[0].mark, "tls: %s", buf_text(&words));
    mem_free(certificates);
    buf_deinit(&words);
    return status;
}

static enum status build_client_tls(const struct config_reading *reading, const char *where,
                                    const struct tls_client_options *options,
                                    struct tls_context **out)
{
    struct buf words = { 0 };
    enum status status = tls_context_create_client(options, &words, out);

    if (status != STATUS_OK)
        status = config_wrong(reading, config_mark_of(reading, where), "%s: %s", where,
                              buf_text(&words));
    buf_deinit(&words);
    return status;
}

static enum status build_agent_tls(const struct config_reading *reading)
{
    struct config *config = reading->config;
    struct tls_client_options options = { .ca_file = config->agent_ca_file,
                                          .alpn = SLICE("h2"),
                                          .messages_per_s = config->tls_messages };
    bool has_certificate = config->agent_certificate_file != NULL;

    if (has_certificate != (config->agent_key_file != NULL))
        return config_wrong(reading,
                            config_mark_of(reading, has_certificate ? "upstream.tls.certificate"
                                                                    : "upstream.tls.key"),
                            "upstream.tls: certificate and key belong together");
    enum status status = build_client_tls(reading, "upstream.tls.ca", &options, &config->agent_tls);

    if (status == STATUS_OK && has_certificate) {
        options.certificate_file = config->agent_certificate_file;
        options.key_file = config->agent_key_file;
        status = build_client_tls(reading, "upstream.tls.certificate", &options,
                                  &config->agent_mutual_tls);
    }
    return status;
}

static enum status build_keys(const struct config_reading *reading)
{
    struct config *config = reading->config;
    struct buf words = { 0 };

    if (config->token.issuer == NULL || config->token.issuer[0] == '\0')
        return config_wrong(reading, config_mark_of(reading, "auth.issuer"),
                            "auth.issuer: expected the `iss` of your tokens");
    if (config->key_count == 0)
        return config_wrong(reading, config_mark_of(reading, "auth.keys"),
                            "auth.keys: expected at least one key");

    struct key_options *keys = mem_zeroed(config->key_count * sizeof(*keys));

    for (size_t i = 0; i < config->key_count; i++)
        keys[i] = (struct key_options){ config->keys[i].kid,
                                        (enum token_algorithm)config->keys[i].algorithm,
                                        config->keys[i].file };
    enum status status = key_store_create(keys, config->key_count, &words, &config->key_store);

    if (status != STATUS_OK)
        status = config_wrong(reading, config->keys[0].mark, "auth.keys: %s", buf_text(&words));
    mem_free(keys);
    buf_deinit(&words);
    return status;
}

char *config_read_secret(const char *file)
{
    char text[1024];
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t count = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    char *secret = NULL;

    if (fd >= 0)
        close(fd);
    if (count <= 0)
        return NULL;
    text[count] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    if (text[0] != '\0')
        secret = mem_copy_string(text);
    mem_wipe(text, sizeof(text));
    return secret;
}

static enum status build_sentinels(const struct config_reading *reading)
{
    struct config *config = reading->config;
    const char *file = config->redis_sentinel_password_file;
    enum status status = STATUS_OK;
    struct buf words = { 0 };
    char *secret = NULL;

    if (config->redis_sentinels.count > 0 && config->redis_endpoint.host == NULL)
        return config_wrong(reading, config_mark_of(reading, "routes.redis.sentinels"),
                            "routes.redis.sentinels: expected redis://… or rediss://… as the url");
    if (file != NULL && (secret = config_read_secret(file)) == NULL)
        return config_wrong(reading, config_mark_of(reading, "routes.redis.sentinel_password_file"),
                            "routes.redis.sentinel_password_file: expected a file with a password, "
                            "%s",
                            file);
    for (size_t i = 0; i < config->redis_sentinels.count && status == STATUS_OK; i++)
        status = redis_endpoint_add_sentinel(&config->redis_endpoint,
                                             slice_from_string(config->redis_sentinels.items[i]),
                                             secret, &words);
    if (status != STATUS_OK)
        status = config_wrong(reading, config_mark_of(reading, "routes.redis.sentinels"),
                              "routes.redis.sentinels: %s", buf_text(&words));
    buf_deinit(&words);
    if (secret != NULL)
        mem_wipe(secret, strlen(secret));
    mem_free(secret);
    return status;
}

static enum status build_redis(const struct config_reading *reading)
{
    struct config *config = reading->config;
    struct buf words = { 0 };
    char *secret = NULL;

    if (config->redis_url == NULL)
        return config_wrong(reading, config_mark_of(reading, "routes.source"),
                            "routes.source: redis needs routes.redis.url");
    if (redis_endpoint_parse(slice_from_string(config->redis_url), &words,
                             &config->redis_endpoint) != STATUS_OK) {
        enum status status = config_wrong(reading, config_mark_of(reading, "routes.redis.url"),
                                          "routes.redis.url: %s", buf_text(&words));

        buf_deinit(&words);
        return status;
    }
    buf_deinit(&words);
    if (config->redis_password_file != NULL) {
        secret = config_read_secret(config->redis_password_file);
        if (secret == NULL)
            return config_wrong(reading, config_mark_of(reading, "routes.redis.password_file"),
                                "routes.redis.password_file: expected a file with a password, %s",
                                config->redis_password_file);
        mem_free((char *)(uintptr_t)config->redis_endpoint.password);
        config->redis_endpoint.password = secret;
    }
    enum status status = build_sentinels(reading);
    if (status != STATUS_OK)
        return status;
    config->redis.endpoint = &config->redis_endpoint;
    if (!config->redis_endpoint.tls)
        return STATUS_OK;

    struct tls_client_options options = { .ca_file = config->redis_ca_file };
    status = build_client_tls(reading, "routes.redis.ca", &options, &config->redis_tls);

    config->redis.tls = config->redis_tls;
    return status;
}

static enum status build_routes(const struct config_reading *reading)
{
    struct config *config = reading->config;
    struct buf words = { 0 };
    struct route_table *table = NULL;

    if (config->routes == CONFIG_ROUTES_TABLE)
        return STATUS_OK;
    if (config->routes == CONFIG_ROUTES_REDIS)
        return build_redis(reading);
    if (config->routes_file == NULL)
        return config_wrong(
            reading, config_mark_of(reading, "routes.source"),
            "routes: expected routes.file, or routes.source: redis with routes.redis.url");
    enum status status = route_table_load(config->routes_file, &words, &table);

    if (status != STATUS_OK)
        status = config_wrong(reading, config_mark_of(reading, "routes.file"), "routes.file: %s",
                              buf_text(&words));
    route_table_unref(&table);
    buf_deinit(&words);
    return status;
}

static enum status check_pairs(const struct config_reading *reading)
{
    const struct config *config = reading->config;
    const struct http_limits *limits = &config->limits;

    if (limits->fields_hard < limits->fields_soft)
        return config_wrong(reading, config_mark_of(reading, "limits.fields_hard"),
                            "limits.fields_hard: expected at least limits.fields");
    if (limits->field_bytes_hard < limits->field_bytes_soft)
        return config_wrong(reading, config_mark_of(reading, "limits.field_bytes_hard"),
                            "limits.field_bytes_hard: expected at least limits.field_bytes");
    if (limits->streams < limits->streams_untrusted)
        return config_wrong(reading, config_mark_of(reading, "limits.h2.streams"),
                            "limits.h2.streams: expected at least limits.h2.streams_untrusted");
    if (config->redis.retry_max_ms < config->redis.retry_min_ms)
        return config_wrong(reading, config_mark_of(reading, "routes.redis.retry_max"),
                            "routes.redis.retry_max: expected at least retry_min");
    if (config->upstream.backoff_max_ms < config->upstream.backoff_min_ms)
        return config_wrong(reading, config_mark_of(reading, "upstream.backoff_max"),
                            "upstream.backoff_max: expected at least backoff_min");
    if (config->proxy.wake.is_enabled && config->routes != CONFIG_ROUTES_REDIS)
        return config_wrong(reading, config_mark_of(reading, "wake.enabled"),
                            "wake.enabled: needs routes.source: redis");
    if (config->exec_hosts.count == 0)
        return config_wrong(reading, config_mark_of(reading, "exec.hosts"),
                            "exec.hosts: expected at least one host name, or \"*\"");
    return STATUS_OK;
}

static void fill_options(struct config *config)
{
    config->proxy.exec_hosts = config->exec_hosts.items;
    config->proxy.exec_host_count = config->exec_hosts.count;
    config->proxy.cors_origins = config->cors_origins.items;
    config->proxy.cors_origin_count = config->cors_origins.count;
    config->proxy.ports.domains = config->ports_domains.items;
    config->proxy.ports.domain_count = config->ports_domains.count;
    config->proxy.ports.reserved_handles = config->ports_reserved.items;
    config->proxy.ports.reserved_handle_count = config->ports_reserved.count;
    config->proxy.ports.login_url = config->ports_login_url;
    config->proxy.server_tls = config->tls;
    config->proxy.trusted_proxies = config->trusted_proxies.items;
    config->proxy.trusted_proxy_count = config->trusted_proxies.count;
    config->proxy.on_expiry = (enum on_expiry)config->on_expiry;
    config->proxy.sessions_required =
        config->sessions == CONFIG_SESSIONS_REQUIRED ||
        (config->sessions == CONFIG_SESSIONS_AUTO && config->routes == CONFIG_ROUTES_REDIS);
    config->proxy.agent_tls = config->agent_tls;
    config->proxy.agent_mutual_tls = config->agent_mutual_tls;
    config->upstream.allow = config->upstream_allow.items;
    config->upstream.allow_count = config->upstream_allow.count;
}

enum status config_check(const struct config_reading *reading)
{
    static enum status (*const steps[])(const struct config_reading *) = {
        check_listeners, check_pairs,  build_keys,         build_server_tls,
        build_agent_tls, build_routes, config_check_admin,
    };
    enum status status = STATUS_OK;

    for (size_t i = 0; status == STATUS_OK && i < sizeof(steps) / sizeof(steps[0]); i++)
        status = steps[i](reading);
    if (status == STATUS_OK)
        fill_options(reading->config);
    return status;
}

enum status config_finish(struct config *config, struct buf *out_error)
{
    struct config_reading reading = { config, NULL, out_error };

    return config_check(&reading);
}
