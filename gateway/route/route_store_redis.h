/* route/route_store_redis.h — records in Redis 7 (DESIGN §7), kept coherent by CLIENT TRACKING …
 * BCAST. Two connections: one for commands (pipelined HGETALL), one subscribed to
 * __redis__:invalidate. RESP2. Loss of either flushes, reconnects with jitter, and sets the
 * tracking up anew; both are pinged every second and are dead after three. */
#pragma once

#include "base/counter.h"
#include "net/tls_context.h"
#include "route/route_store.h"

struct redis_endpoint {
    bool tls;         /* rediss:// */
    const char *host; /* NULL: unix_path */
    uint16_t port;
    const char *unix_path;
    const char *user;     /* NULL: default user */
    const char *password; /* NULL: no AUTH; a secret */
    unsigned database;    /* SELECT when not 0 */
};

/* "redis://[user[:password]@]host[:port][/db]", "rediss://…",
 * "unix://[user:password@]/path[?db=N]"; percent-decoded. Strings are owned by the endpoint.
 * Errors: CONFIG_INVALID with words in out_error (never the password). */
MUST_CHECK enum status redis_endpoint_parse(struct slice url, struct buf *out_error,
                                            struct redis_endpoint *out_endpoint);
void redis_endpoint_deinit(struct redis_endpoint *endpoint);

struct route_store_redis_options {
    const struct redis_endpoint *endpoint; /* borrowed */
    struct tls_context *tls;               /* for rediss://; a reference is taken */
    const char *prefix;                    /* of every key; "" by default */
    uint64_t connect_timeout_ms;           /* 3 s */
    uint64_t reply_timeout_ms;             /* 1 s */
    uint64_t retry_min_ms,
        retry_max_ms; /* 100 ms – 5 s, exponential with jitter; 2 s at most while reads wait */
    size_t reply_bytes, reply_elements; /* 1 MiB, 64 Ki */
};

struct route_store_redis_counters {
    struct counter commands, replies, timeouts, connects, disconnects, invalidations, flushes,
        refused_replies;
    struct counter link_up; /* gauge: 0 or 1 */
};

struct route_store *route_store_redis_create(struct loop *loop,
                                             const struct route_store_redis_options *options);
const struct route_store_redis_counters *
route_store_redis_counters(const struct route_store *store);
