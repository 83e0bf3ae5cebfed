/* config/config.h — the configuration of one process: a read-only snapshot, reference counted
 * across threads. A file becomes one in three steps: config_yaml.c reads it against the schema
 * (config_schema.c), config_check.c compares what belongs together and opens what it names (keys,
 * certificates). Any error says file:line:column and what was expected. */
#pragma once

#include <stdatomic.h>

#include "auth/key_store.h"
#include "base/log.h"
#include "http/limits.h"
#include "proxy/proxy.h"
#include "route/route_store_file.h"
#include "route/route_store_redis.h"

enum config_routes { CONFIG_ROUTES_FILE, CONFIG_ROUTES_REDIS, CONFIG_ROUTES_TABLE };
enum config_sessions { CONFIG_SESSIONS_AUTO, CONFIG_SESSIONS_REQUIRED, CONFIG_SESSIONS_OPTIONAL };

struct config_mark {
    unsigned line, column; /* from 1; 0: not from the file */
};

struct config_texts {
    const char **items;
    size_t count;
};

struct config_networks {
    struct network *items;
    size_t count;
};

struct config_listener {
    struct config_mark mark;
    struct address address;
    bool tls;
    int unix_mode; /* index into config_unix_modes */
    bool proxy_protocol;
    struct config_networks proxy_protocol_from;
};

/* Of the paths of Unix sockets, by config_listener.unix_mode; 0: as the umask says. */
extern const unsigned config_unix_modes[];

struct config_certificate {
    struct config_mark mark;
    const char *certificate_file;
    const char *key_file;
};

struct config_key {
    struct config_mark mark;
    const char *kid;
    int algorithm; /* enum token_algorithm */
    const char *file;
};

struct config {
    atomic_size_t ref_count;
    struct arena arena; /* every text and list below */
    const char *file;

    /* as read */
    size_t workers; /* 0: one per CPU */
    uint64_t drain_ms, drain_delay_ms, drain_spread_ms;
    uint64_t upgrade_ms;
    uint64_t watchdog_ms; /* 0: off */
    bool io_uring;
    size_t conns_per_address;
    size_t memory_bytes; /* 0: the cgroup's limit */
    struct config_listener *listeners;
    size_t listener_count;
    struct config_certificate *certificates;
    size_t certificate_count;
    const char *ticket_key_file;
    uint64_t handshake_ms;
    uint32_t tls_messages; /* a second */
    uint64_t proxy_header_ms;
    size_t max_conns; /* 0: half of the descriptor limit */
    struct config_key *keys;
    size_t key_count;
    struct token_options token;
    struct config_texts exec_hosts, cors_origins;
    struct config_networks trusted_proxies;
    struct proxy_options proxy; /* lists and TLS contexts are filled by config_check.c */
    int on_expiry;
    int sessions;
    int routes;
    const char *routes_file;
    const char *redis_url;
    const char *redis_password_file;
    const char *redis_ca_file;
    struct config_texts redis_sentinels;
    const char *redis_sentinel_password_file;
    struct route_store_redis_options redis;
    struct route_resolver_options resolver;
    struct config_networks upstream_allow;
    struct upstream_options upstream;
    const char *agent_ca_file, *agent_certificate_file, *agent_key_file;
    struct http_limits limits;
    struct config_texts ports_domains, ports_reserved; /* lower case */
    const char *ports_login_url;
    struct address admin_address; /* len 0: no admin listener */
    const char *admin_secret_file;
    const char *admin_signing_kid; /* NULL: sessions cannot be made */
    const char *admin_connect_url;
    int log_level;
    const char *access_log; /* "stdout", "stderr", "off" or a file */

    /* built by config_check.c */
    struct key_store *key_store;
    char *admin_secret; /* NULL: none */
    const struct config_key *admin_signing_key;
    struct tls_context *tls; /* NULL when no listener wants it */
    struct tls_context *agent_tls, *agent_mutual_tls, *redis_tls;
    struct redis_endpoint redis_endpoint;
    struct route_table *table; /* CONFIG_ROUTES_TABLE, the command `dev` */
};

/* Everything at its default, nothing checked or opened; *out_config has one reference. For `dev`
 * and tests, which fill in the rest and then call config_check(). */
struct config *config_create(void);

/* Checks and opens, as config_load() does after reading. Errors: CONFIG_INVALID. */
MUST_CHECK enum status config_finish(struct config *config, struct buf *out_error);

/* Reads, checks, opens. `out_error` gets one line. Errors: CONFIG_INVALID. */
MUST_CHECK enum status config_load(const char *file, struct buf *out_error,
                                   struct config **out_config);

/* The same from text; `file` is the name in messages, relative paths are relative to its folder. */
MUST_CHECK enum status config_parse(const char *file, struct slice text, struct buf *out_error,
                                    struct config **out_config);

/* The path of the first key that differs between the two and that a running process cannot change;
 * NULL: all that differs can be taken. */
const char *config_fixed_change(const struct config *old, const struct config *new);

struct config *config_ref(struct config *config);
void config_unref(struct config **config); /* sets *config to NULL; may already be NULL */

/* The reference of all keys as Markdown: docs/config.md is compared with it in `make test`. */
void config_print_reference(struct buf *into);
