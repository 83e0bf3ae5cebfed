/* upstream/upstream_pool.h — leased conns to guest agents, per computer: HTTP/2 multiplexed (one
 * connection, a second when the peer's stream limit is reached) or HTTP/1.1 kept alive. Dials,
 * checks addresses against `allow`, backs off from agents that do not answer, and drops the
 * connections of an old boot. One per worker. */
#pragma once

#include "base/counter.h"
#include "http/client.h"
#include "net/tls_context.h"

struct upstream_pool;

enum upstream_protocol { UPSTREAM_H2, UPSTREAM_H1 };
enum upstream_via { UPSTREAM_VIA_AGENT, UPSTREAM_VIA_DIRECT };

struct upstream_target { /* borrowed for the call only */
    struct slice computer_id;
    struct slice agent; /* host:port */
    struct slice boot;
    enum upstream_protocol protocol;
    struct tls_context *tls; /* NULL: clear. h2 over TLS needs ALPN h2 */
    /* 0: the agent itself. Else a published port: through a CONNECT stream on the agent's HTTP/2
     * connection, or plain TCP to the agent's host. `protocol` is then what the port speaks, in
     * clear; `tls` stays the agent's. */
    uint16_t port;
    enum upstream_via via;
};

struct upstream_options {
    const struct http_limits *limits; /* borrowed */
    /* Copied; an address outside is ROUTE_REFUSED. Loopback, link-local, metadata and the like must
     * be listed by networks that lie inside their blocks (allow_list.h). */
    const struct network *allow;
    size_t allow_count;
    size_t h2_conns; /* 2 per computer that take exchanges (and three times as many under GOAWAY) */
    size_t h1_conns; /* 256 per computer */
    size_t pending;  /* 64 waiting requests per computer: then AGENT_BUSY */
    uint64_t
        pending_ms; /* 3 s: then AGENT_BUSY, or AGENT_TIMED_OUT while nothing but a dial is there */
    uint64_t connect_ms; /* 3 s, name lookup, one retry and the peer's first SETTINGS included */
    uint64_t idle_ms;    /* 60 s: a connection with no stream closes */
    uint64_t backoff_min_ms, backoff_max_ms; /* 1 s – 30 s after 5 failures in a row: fail fast */
    unsigned backoff_failures;
};

struct upstream_counters {
    struct counter connects,
        connect_failures;             /* dials that ended so; a retry is no dial of its own */
    struct counter refused_addresses; /* among the failures */
    struct counter reuses;            /* exchanges on a conn that was used before */
    struct counter goaways, lost;     /* conns that ended in order, or not */
    struct counter busy, backoffs;    /* waits that ended as AGENT_BUSY, that failed fast */
    struct counter conns_open, streams_open; /* gauges, right at the end of a turn */
};

struct upstream_pool *upstream_pool_create(struct loop *loop,
                                           const struct upstream_options *options);
/* Exchanges that are still open get on_reset(RESET_LOST). Waits that still stand never run; their
 * owners cancel them as ever. Not inside on_ready. Sets *pool to NULL; may already be NULL. */
void upstream_pool_destroy(struct upstream_pool **pool);

/* Where we listen ourselves: agents there are ROUTE_REFUSED. Copied; replaces what was told before. */
void upstream_pool_set_own(struct upstream_pool *pool, const struct address *listeners,
                           size_t count);

/* A client with room for one more exchange right now, to be used before returning to the loop;
 * NULL: none (wait for one). A target with another boot, agent, protocol or TLS than before drops
 * the old connections (their exchanges are LOST, at the end of this turn). A TLS context that is
 * merely a new one (reload) retires them instead: open exchanges finish. Who waits is served first.
 */
struct http_client *upstream_pool_take(struct upstream_pool *pool,
                                       const struct upstream_target *target);

/* Exactly one of these follows:
 *  - on_ready runs once, never inside this call: OK with a client to be used before on_ready
 *    returns; or ROUTE_REFUSED, AGENT_UNREACHABLE, AGENT_TIMED_OUT, AGENT_BUSY, AGENT_PROTOCOL (for
 *    ports PORT_CLOSED, AGENT_LOST and AGENT_RESET, too). In all of these nothing was sent;
 *  - upstream_wait_cancel() is called, and on_ready never runs. */
struct upstream_wait;
typedef void upstream_ready_fn(void *arg, enum status status, struct http_client *client);
MUST_CHECK struct upstream_wait *upstream_wait_start(struct upstream_pool *pool,
                                                     const struct upstream_target *target,
                                                     upstream_ready_fn *on_ready, void *arg);
void upstream_wait_cancel(struct upstream_wait **wait);

/* The computer stopped, was deleted or booted anew: its connections, and those to its ports, close
 * at the end of this turn; who waits for one hears AGENT_UNREACHABLE. */
void upstream_pool_forget(struct upstream_pool *pool, struct slice computer_id);

/* Appends one JSON object per agent that is known, separated by commas, at most `limit`; returns how
 * many. */
size_t upstream_pool_list_agents(const struct upstream_pool *pool, size_t limit, struct buf *into);

const struct upstream_counters *upstream_pool_counters(const struct upstream_pool *pool);
