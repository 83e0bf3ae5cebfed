/* route/route_store_redis.h — records in Redis 7 (DESIGN §7), kept coherent by CLIENT TRACKING …
 * BCAST. Two connections: one for commands (pipelined HGETALL), one subscribed to
 * __redis__:invalidate. RESP2. Loss of either flushes, reconnects with jitter, and sets the
 * tracking up anew; both are pinged every second and are dead after three. */
#pragma once

#include "base/buf.h"
#include "base/histogram.h"
#include "net/tls_context.h"
#include "route/route_store.h"

struct redis_endpoint {
    bool tls;         /* rediss:// */
    const char *host; /* NULL: unix_path; with sentinels: the name of the master */
    uint16_t port;
    const char *unix_path;
    const char *user;                 /* NULL: default user */
    const char *password;             /* NULL: no AUTH; a secret */
    unsigned database;                /* SELECT when not 0 */
    struct redis_endpoint *sentinels; /* owned; who knows where the master is */
    size_t sentinel_count;            /* 0: it is at host and port */
};

/* "redis://[user[:password]@]host[:port][/db]", "rediss://…",
 * "unix://[user:password@]/path[?db=N]"; percent-decoded. Strings are owned by the endpoint.
 * Errors: CONFIG_INVALID with words in out_error (never the password). */
MUST_CHECK enum status redis_endpoint_parse(struct slice url, struct buf *out_error,
                                            struct redis_endpoint *out_endpoint);
void redis_endpoint_deinit(struct redis_endpoint *endpoint); /* wipes the password */
void redis_endpoint_copy(const struct redis_endpoint *endpoint, struct redis_endpoint *out_copy);
/* The same Redis elsewhere, without sentinels. `host` is copied. */
void redis_endpoint_copy_at(const struct redis_endpoint *endpoint, const char *host, uint16_t port,
                            struct redis_endpoint *out_copy);

/* "host[:port]", "[v6][:port]"; with TLS when the endpoint has it. Copies `password` (NULL: none).
 * Errors: CONFIG_INVALID with words in out_error. */
MUST_CHECK enum status redis_endpoint_add_sentinel(struct redis_endpoint *endpoint,
                                                   struct slice address, const char *password,
                                                   struct buf *out_error);

struct route_store_redis_options {
    const struct redis_endpoint *endpoint; /* copied */
    struct tls_context *tls;               /* for rediss://; a reference is taken */
    const char *prefix;                    /* of every key; "" by default */
    uint64_t connect_timeout_ms;           /* 3 s */
    uint64_t reply_timeout_ms;             /* 1 s */
    uint64_t retry_min_ms, retry_max_ms;   /* 100 ms – 1.5 s: exponential with jitter */
    size_t reply_bytes, reply_elements;    /* 1 MiB, 64 Ki */
};

struct route_store_redis_counters {
    struct counter commands, replies, timeouts, connects, disconnects, invalidations, flushes,
        refused_replies;
    struct counter master_changes; /* by sentinels; the first one too */
    struct counter link_up;        /* gauge: 0 or 1 */
    struct histogram latency;      /* from sending a command to its reply */
};

struct route_store *route_store_redis_create(struct loop *loop,
                                             const struct route_store_redis_options *options);
const struct route_store_redis_counters *
route_store_redis_counters(const struct route_store *store);

/* One reply of Redis. Everything is borrowed from it. */
enum redis_kind { REDIS_TEXT, REDIS_WORD, REDIS_ERROR, REDIS_INTEGER, REDIS_NIL, REDIS_ARRAY };

struct redis_reply {
    enum redis_kind kind;
    int64_t integer;
    struct slice text; /* REDIS_TEXT, REDIS_WORD ("OK"), REDIS_ERROR ("WRONGTYPE …") */
    struct redis_reply *items;
    size_t item_count;
};

/* OK with the reply, which may be a REDIS_ERROR. ROUTE_UNAVAILABLE without one: the link was down
 * for connect_timeout_ms, or it was lost after the command was sent, which then may have been
 * carried out or not. */
typedef void route_store_redis_reply_fn(void *arg, enum status status,
                                        const struct redis_reply *reply);

struct redis_command;

/* Any other command (HSET, DEL, XADD …) on the command connection. Copies the words. Exactly one
 * follows: on_reply runs once, on a later turn; or route_store_redis_cancel(), which does not take
 * the command back once it is sent. */
MUST_CHECK struct redis_command *
route_store_redis_command(struct route_store *store, const struct slice *words, size_t word_count,
                          route_store_redis_reply_fn *on_reply, void *arg);
void route_store_redis_cancel(
    struct redis_command **command); /* sets *command to NULL; may already be NULL */

const char *route_store_redis_prefix(const struct route_store *store); /* of every key */

/* "computer:{cmp_1}" under the store's prefix. */
void route_store_redis_append_key(const struct route_store *store, enum record_kind kind,
                                  struct slice id, struct buf *out);
