/* tests/load/pool.c — the connections of one load. Each slot keeps one client; a client that takes no more (GOAWAY, keep-alive over)
 * leaves its slot, ends its exchanges and goes, while the slot dials anew. */
#include "base/mem.h"
#include "run.h"

enum { DIAL_MS = 5000, RETRY_MS = 100 };

struct member {            /* one client */
    struct list link;      /* in members of the pool */
    struct list available; /* in available, while it has room */
    struct pool *pool;
    struct slot *slot; /* NULL: it has left */
    struct http_client *client;
};

struct slot {
    struct pool *pool;
    unsigned number;
    struct conn *conn; /* while it is opening */
    struct member *member;
    struct timer retry;
};

struct pool {
    struct run *run;
    struct slot *slots;
    unsigned count;
    struct list members;
    struct list available;
    bool is_ending;
};

static void slot_dial(struct slot *slot);

static void member_destroy(struct member *member)
{
    list_unlink(&member->link);
    list_unlink(&member->available);
    if (member->slot != NULL)
        member->slot->member = NULL;
    http_client_destroy(&member->client);
    mem_free(member);
}

static void on_capacity(void *owner)
{
    struct member *member = owner;

    if (member->client == NULL || http_client_capacity(member->client) == 0)
        return;
    if (!list_is_linked(&member->available))
        list_append(&member->pool->available, &member->available);
    requests_go_on(member->pool->run);
}

static void on_closing(void *owner, enum status reason)
{
    struct member *member = owner;
    struct slot *slot = member->slot;

    (void)reason;
    list_unlink(&member->available);
    member->slot = NULL;
    if (slot != NULL) {
        slot->member = NULL;
        if (!member->pool->is_ending)
            timer_arm(&slot->retry, 0);
    }
}

static void on_closed(void *owner)
{
    member_destroy(owner);
}

static const struct http_client_events client_events = {
    .on_ready = on_capacity,
    .on_capacity = on_capacity,
    .on_closing = on_closing,
    .on_closed = on_closed,
};

/* Whoever waits for a connection cannot be helped by this slot: the first in line is told. */
static void slot_failed(struct slot *slot, enum status status)
{
    struct run *run = slot->pool->run;

    conn_destroy(&slot->conn);
    timer_arm(&slot->retry, RETRY_MS);
    if (!list_is_empty(&run->waiting))
        request_fail(LIST_FIRST(&run->waiting, struct request, link),
                     status == STATUS_MALFORMED ? OUTCOME_TLS_FAILED : OUTCOME_CONNECT_FAILED);
}

static void on_conn_open(void *owner, enum status status)
{
    struct slot *slot = owner;
    struct pool *pool = slot->pool;
    const struct http_limits *limits = &pool->run->lane->settings->limits;
    struct member *member;
    struct conn *conn = slot->conn;

    if (status != STATUS_OK) {
        slot_failed(slot, status);
        return;
    }
    slot->conn = NULL;
    member = mem_zeroed(sizeof(*member));
    member->pool = pool;
    member->slot = slot;
    slot->member = member;
    list_init(&member->available);
    list_append(&pool->members, &member->link);
    if (pool->run->load->protocol == PROTOCOL_H2)
        member->client = h2_client_create(conn, limits, &client_events, member);
    else
        member->client = h1_client_create(conn, limits, &client_events, member);
}

static void on_conn_ready(void *owner)
{
    (void)owner; /* asked for by the client alone */
}

static const struct conn_events conn_events = {
    .on_open = on_conn_open,
    .on_readable = on_conn_ready,
    .on_writable = on_conn_ready,
};

static void slot_dial(struct slot *slot)
{
    const struct run *run = slot->pool->run;
    struct conn_connect_options options = {
        .tls = run->endpoint->tls[run->load->protocol],
        .server_name = run->endpoint->host,
        .timeout_ms = DIAL_MS,
    };

    slot->conn =
        conn_connect_start(run->lane->loop, &run->endpoint->address, &options, &conn_events, slot);
}

static void on_retry(struct timer *timer)
{
    slot_dial(CONTAINER_OF(timer, struct slot, retry));
}

struct pool *pool_create(struct run *run)
{
    unsigned lanes = run->lane->settings->lane_count;
    struct pool *pool = mem_zeroed(sizeof(*pool));

    pool->run = run;
    pool->count = (unsigned)(run->load->connections / lanes +
                             (run->lane->index < run->load->connections % lanes));
    if (pool->count == 0)
        pool->count = 1;
    pool->slots = mem_zeroed(pool->count * sizeof(*pool->slots));
    list_init(&pool->members);
    list_init(&pool->available);
    for (unsigned i = 0; i < pool->count; i++) {
        struct slot *slot = &pool->slots[i];
        slot->pool = pool;
        slot->number = i * lanes + run->lane->index;
        timer_init(&slot->retry, run->lane->loop, on_retry);
        slot_dial(slot);
    }
    return pool;
}

void pool_destroy(struct pool **pool_pointer)
{
    struct pool *pool = *pool_pointer;

    if (pool == NULL)
        return;
    pool->is_ending = true;
    while (!list_is_empty(&pool->members))
        member_destroy(LIST_FIRST(&pool->members, struct member, link));
    for (unsigned i = 0; i < pool->count; i++) {
        timer_cancel(&pool->slots[i].retry);
        conn_destroy(&pool->slots[i].conn);
    }
    mem_free(pool->slots);
    mem_free(pool);
    *pool_pointer = NULL;
}

struct http_client *pool_take(struct pool *pool, unsigned *out_connection)
{
    while (!list_is_empty(&pool->available)) {
        struct member *member = LIST_FIRST(&pool->available, struct member, available);
        size_t room = http_client_capacity(member->client);

        list_unlink(&member->available);
        if (room == 0 || member->slot == NULL)
            continue;
        if (room > 1) /* in turn */
            list_append(&pool->available, &member->available);
        *out_connection = member->slot->number;
        return member->client;
    }
    return NULL;
}

uint64_t pool_conn_count(const struct pool *pool)
{
    uint64_t count = 0;

    LIST_EACH(&pool->members, link)
    count++;
    return count;
}
