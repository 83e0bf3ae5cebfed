/* upstream/upstream_list.c — the agents of a pool as operators see them. */
#include "upstream/agent.h"

struct listing {
    struct upstream_pool *pool;
    struct buf *into;
    size_t limit;
    size_t count;
};

static void add_text(struct buf *into, const char *name, struct slice text)
{
    buf_printf(into, ",\"%s\":\"", name);
    buf_append_json_text(into, text);
    buf_append_byte(into, '"');
}

static void add_agent(const struct listing *listing, const struct agent *agent)
{
    const struct upstream_target *identity = &agent->identity;
    uint64_t now_ms = loop_clock(listing->pool->loop)->now_ms;
    size_t streams = 0;

    for (unsigned state = AGENT_CONN_READY; state < AGENT_CONN_STATE_COUNT; state++) {
        LIST_EACH(&agent->by_state[state], link)
        streams += LIST_ITEM(link, struct agent_conn, link)->client->open_count;
    }
    buf_printf(listing->into, "{\"protocol\":\"%s\",\"tls\":%s",
               identity->protocol == UPSTREAM_H1 ? "http1" : "h2",
               identity->tls != NULL ? "true" : "false");
    add_text(listing->into, "computer", identity->computer_id);
    add_text(listing->into, "agent", identity->agent);
    add_text(listing->into, "boot", identity->boot);
    buf_printf(listing->into,
               ",\"dialing\":%zu,\"ready\":%zu,\"busy\":%zu,\"closing\":%zu,\"streams\":%zu,"
               "\"waiting\":%zu,\"failures\":%u,\"backed_off\":%s}",
               agent->count[AGENT_CONN_DIALING], agent->count[AGENT_CONN_READY],
               agent->count[AGENT_CONN_BUSY], agent->count[AGENT_CONN_CLOSING], streams,
               agent->wait_count, agent->health.failures,
               agent_health_is_open(&agent->health, now_ms) ? "true" : "false");
}

static bool visit(const struct map_entry *entry, void *arg)
{
    struct listing *listing = arg;

    if (listing->count == listing->limit)
        return false;
    if (listing->count++ > 0)
        buf_append_byte(listing->into, ',');
    add_agent(listing, CONTAINER_OF(entry, const struct agent, entry));
    return true;
}

size_t upstream_pool_list_agents(const struct upstream_pool *pool, size_t limit, struct buf *into)
{
    struct listing listing = { (struct upstream_pool *)pool, into, limit, 0 };

    map_look(&pool->agents, visit, &listing);
    return listing.count;
}
