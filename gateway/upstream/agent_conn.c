/* upstream/agent_conn.c — see the header. The client's events only note what happened; settle() at
 * the end of the turn puts the conn into the right list, so that any number of events in one turn
 * cost one look. */
#include "upstream/agent_conn.h"

#include "base/mem.h"
#include "upstream/agent.h"

static void agent_conn_move(struct agent_conn *conn, enum agent_conn_state to)
{
    struct agent *agent = conn->agent;

    list_unlink(&conn->link);
    agent->count[conn->state]--;
    conn->state = to;
    list_append(&agent->by_state[to], &conn->link);
    agent->count[to]++;
}

static void count_streams(struct agent_conn *conn, size_t open_count)
{
    struct counter *gauge = &conn->pool->counters.streams_open;

    if (open_count > conn->counted_streams)
        counter_add(gauge, open_count - conn->counted_streams);
    else
        counter_subtract(gauge, conn->counted_streams - open_count);
    conn->counted_streams = open_count;
}

static void settle(struct task *task)
{
    struct agent_conn *conn = CONTAINER_OF(task, struct agent_conn, settle);
    size_t open_count = conn->client->open_count;

    if (open_count < conn->counted_streams && conn->state != AGENT_CONN_CLOSING) {
        conn->has_completed_one = true;
        agent_proved(conn->agent);
    }
    count_streams(conn, open_count);
    if (conn->state == AGENT_CONN_CLOSING)
        return;

    bool has_room = http_client_capacity(conn->client) > 0;
    enum agent_conn_state to = has_room ? AGENT_CONN_READY : AGENT_CONN_BUSY;

    bool has_moved = to != conn->state;

    if (has_moved)
        agent_conn_move(conn, to);
    if (open_count > 0)
        timer_cancel(&conn->idle);
    else if (!timer_is_armed(&conn->idle))
        timer_arm(&conn->idle, conn->pool->options.idle_ms);
    if ((has_room || has_moved) && conn->agent->wait_count > 0)
        agent_review(conn->agent);
}

/* --- what the client tells
 * ------------------------------------------------------------------------------- */

static void on_ready(void *owner)
{
    (void)owner; /* was told to the dialer */
}

static void on_capacity(void *owner)
{
    struct agent_conn *conn = owner;

    if (conn->agent != NULL)
        task_defer(conn->pool->loop, &conn->settle);
}

/* A close that the agent announced (GOAWAY without error, h1 `Connection: close`, an end between
 * exchanges). */
static bool is_orderly(enum status reason)
{
    return reason == STATUS_OK || reason == STATUS_CLOSED;
}

static void on_closing(void *owner, enum status reason)
{
    struct agent_conn *conn = owner;

    if (conn->agent == NULL || conn->state == AGENT_CONN_CLOSING)
        return; /* our own doing */
    timer_cancel(&conn->idle);
    agent_conn_move(conn, AGENT_CONN_CLOSING);
    if (!is_orderly(reason))
        agent_conn_was_lost(conn->agent, conn);
    else if (conn->agent->identity.protocol == UPSTREAM_H2)
        counter_add(&conn->pool->counters.goaways, 1);
    agent_review(conn->agent);
}

static void on_closed(void *owner)
{
    agent_conn_depart(owner);
}

static const struct http_client_events client_events = {
    .on_ready = on_ready,
    .on_capacity = on_capacity,
    .on_closing = on_closing,
    .on_closed = on_closed,
};

/* --- from dialing to departing
 * ----------------------------------------------------------------------------- */

static void on_dialed(void *arg, enum status status, struct http_client *client)
{
    struct agent_conn *conn = arg;
    struct agent *agent = conn->agent;

    conn->dialer = NULL;
    if (status == STATUS_OK) {
        conn->client = client;
        client->events = &client_events;
        client->owner = conn;
        conn->opened_ms = loop_clock(conn->pool->loop)->now_ms;
        counter_add(&conn->pool->counters.conns_open, 1);
        agent_conn_move(conn, AGENT_CONN_READY);
        task_defer(conn->pool->loop, &conn->settle);
    } else {
        agent_conn_depart(conn);
    }
    agent_dial_ended(agent, status);
}

static void on_idle(struct timer *timer)
{
    agent_conn_retire(CONTAINER_OF(timer, struct agent_conn, idle));
}

struct agent_conn *agent_conn_create(struct agent *agent)
{
    struct agent_conn *conn = mem_zeroed(sizeof(*conn));
    const struct upstream_target *identity = &agent->identity;
    const struct dialer_target target = {
        .agent = identity->agent,
        .is_h2 = identity->protocol == UPSTREAM_H2,
        .tls = identity->port == 0 ? identity->tls : NULL,
        .port = identity->port,
        .pool = agent->pool,
        .carrier = agent_carrier(identity),
        .is_tunnelled = identity->port != 0 && identity->via == UPSTREAM_VIA_AGENT,
    };

    conn->agent = agent;
    conn->pool = agent->pool;
    conn->state = AGENT_CONN_DIALING;
    timer_init(&conn->idle, conn->pool->loop, on_idle);
    task_init(&conn->settle, settle);
    list_append(&agent->by_state[AGENT_CONN_DIALING], &conn->link);
    agent->count[AGENT_CONN_DIALING]++;
    conn->dialer = dialer_start(&conn->pool->dial, &target, on_dialed, conn);
    return conn;
}

struct http_client *agent_conn_use(struct agent_conn *conn)
{
    ENSURE(conn->state == AGENT_CONN_READY);
    if (conn->was_used)
        counter_add(&conn->pool->counters.reuses, 1);
    conn->was_used = true;
    timer_cancel(&conn->idle);
    if (conn->agent->identity.protocol == UPSTREAM_H1)
        agent_conn_move(conn, AGENT_CONN_BUSY);
    task_defer(conn->pool->loop, &conn->settle);
    return conn->client;
}

void agent_conn_retire(struct agent_conn *conn)
{
    ENSURE(conn->client != NULL);
    timer_cancel(&conn->idle);
    agent_conn_move(conn, AGENT_CONN_CLOSING);
    http_client_close_gracefully(conn->client);
}

void agent_conn_depart(struct agent_conn *conn)
{
    struct agent *agent = conn->agent;

    if (agent == NULL)
        return;
    agent->count[conn->state]--;
    conn->agent = NULL;
    list_unlink(&conn->link);
    timer_cancel(&conn->idle);
    task_cancel(&conn->settle);
    dialer_cancel(&conn->dialer);
    if (conn->client != NULL)
        counter_subtract(&conn->pool->counters.conns_open, 1);
    count_streams(conn, 0);
    list_append(&conn->pool->departed, &conn->link);
    task_defer(conn->pool->loop, &conn->pool->clean_up);
    agent_review(agent);
}

void agent_conn_destroy(struct agent_conn *conn)
{
    ENSURE(conn->agent == NULL);
    list_unlink(&conn->link);
    http_client_destroy(&conn->client); /* its events find no agent */
    mem_free(conn);
}
