/* upstream/agent_conn.h — one pooled conn to an agent. Its state is the list that it is in.
 *
 *     DIALING ──▶ READY ◀──▶ BUSY          READY: takes another exchange now
 *        │          └───┬──────┘           BUSY: none now (h1: one is open; h2: at the peer's
 * limit) │              ▼                  CLOSING: none any more; the open ones live on │ CLOSING
 *        └──────────────┴──▶ departed (destroyed at the end of the turn)
 */
#pragma once

#include "upstream/upstream_internal.h"

enum agent_conn_state {
    AGENT_CONN_DIALING,
    AGENT_CONN_READY,
    AGENT_CONN_BUSY,
    AGENT_CONN_CLOSING,
    AGENT_CONN_STATE_COUNT
};

struct agent_conn {
    struct list link;    /* in agent->by_state[state] or pool->departed */
    struct agent *agent; /* NULL once departed */
    struct upstream_pool *pool;
    enum agent_conn_state state;
    struct dialer *dialer;      /* DIALING */
    struct http_client *client; /* owned, in all other states */
    struct timer idle;          /* armed while no exchange is open */
    struct task settle;         /* puts it in the list where it belongs */
    size_t counted_streams;     /* its part of the gauge */
    uint64_t opened_ms;
    bool was_used;
    bool has_completed_one; /* an exchange came to its end on it */
};

/* Starts to dial; belongs to `agent`. */
struct agent_conn *agent_conn_create(struct agent *agent);

/* For an exchange that is opened now: leaves READY if it is full then. Returns the client. */
struct http_client *agent_conn_use(struct agent_conn *conn);

/* No new exchanges on it; those that are open live on. */
void agent_conn_retire(struct agent_conn *conn);

/* Leaves its agent at once; destroyed, with its exchanges LOST, at the end of the turn. */
void agent_conn_depart(struct agent_conn *conn);

/* Only for pool->departed. */
void agent_conn_destroy(struct agent_conn *conn);
