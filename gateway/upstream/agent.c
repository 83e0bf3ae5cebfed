/* upstream/agent.c — see the header. All decisions are made in one place, serve(): whoever changes
 * something calls agent_review() and goes on. */
#include "upstream/agent.h"

#include <stdlib.h>

#include "base/mem.h"

/* GOAWAY'd conns whose streams live on do not count as usable, so an agent that says GOAWAY to
 * every conn could make us open ever more of them: beyond this many times `h2_conns` in all,
 * requests wait. */
enum { CONNS_IN_ALL_FACTOR = 4 };

static uint64_t now_ms(const struct agent *agent)
{
    return loop_clock(agent->pool->loop)->now_ms;
}

static bool is_h1(const struct agent *agent)
{
    return agent->identity.protocol == UPSTREAM_H1;
}

static size_t live_count(const struct agent *agent)
{
    return agent->count[AGENT_CONN_READY] + agent->count[AGENT_CONN_BUSY];
}

static size_t conn_count(const struct agent *agent)
{
    return live_count(agent) + agent->count[AGENT_CONN_DIALING] + agent->count[AGENT_CONN_CLOSING];
}

/* --- identity
 * ---------------------------------------------------------------------------------------------- */

static void identity_deinit(struct upstream_target *identity)
{
    mem_free((char *)(uintptr_t)identity->computer_id.ptr);
    mem_free((char *)(uintptr_t)identity->agent.ptr);
    mem_free((char *)(uintptr_t)identity->boot.ptr);
    tls_context_unref(&identity->tls);
}

static struct slice owned_copy(struct slice text)
{
    return slice_of(slice_dup(text), text.len);
}

static void identity_init(struct upstream_target *identity, const struct upstream_target *target)
{
    *identity = *target;
    identity->computer_id = owned_copy(target->computer_id);
    identity->agent = owned_copy(target->agent);
    identity->boot = owned_copy(target->boot);
    identity->tls = target->tls != NULL ? tls_context_ref(target->tls) : NULL;
}

static bool is_same_agent(const struct upstream_target *a, const struct upstream_target *b)
{
    return a->protocol == b->protocol && slice_equal(a->boot, b->boot) &&
           slice_equal(a->agent, b->agent) && (a->tls == NULL) == (b->tls == NULL);
}

bool agent_is(const struct agent *agent, const struct upstream_target *target)
{
    return agent->identity.tls == target->tls && is_same_agent(&agent->identity, target);
}

static void depart_all(struct agent *agent, enum agent_conn_state state)
{
    LIST_EACH(&agent->by_state[state], link)
    agent_conn_depart(LIST_ITEM(link, struct agent_conn, link));
}

static void retire_all(struct agent *agent, enum agent_conn_state state)
{
    LIST_EACH(&agent->by_state[state], link)
    agent_conn_retire(LIST_ITEM(link, struct agent_conn, link));
}

static void fail_waits(struct agent *agent, enum status status)
{
    while (agent->wait_count > 0)
        upstream_wait_fail(LIST_FIRST(&agent->waits, struct upstream_wait, link), status);
}

static void drop_everything(struct agent *agent)
{
    for (enum agent_conn_state state = 0; state < AGENT_CONN_STATE_COUNT; state++)
        depart_all(agent, state);
    fail_waits(agent, STATUS_AGENT_UNREACHABLE);
    agent->health = (struct agent_health){ 0 };
}

/* Ports of another boot have nothing to say any more. */
static void drop_old_ports(struct agent *agent, struct slice boot)
{
    LIST_EACH(&agent->ports, link)
    {
        struct agent *port = LIST_ITEM(link, struct agent, sibling);

        if (slice_equal(port->identity.boot, boot))
            continue;
        drop_everything(port);
        agent_review(port);
    }
}

void agent_become(struct agent *agent, const struct upstream_target *target)
{
    struct upstream_target old = agent->identity;

    if (is_same_agent(&old, target)) { /* but the TLS context is a new one */
        depart_all(agent, AGENT_CONN_DIALING);
        retire_all(agent, AGENT_CONN_READY);
        retire_all(agent, AGENT_CONN_BUSY);
        agent_health_undecided(&agent->health);
    } else {
        drop_everything(agent);
        drop_old_ports(agent, target->boot);
    }
    identity_init(&agent->identity, target);
    agent->entry.key = agent->identity.computer_id; /* the same bytes */
    identity_deinit(&old);
    agent_review(agent);
}

/* --- serving
 * -----------------------------------------------------------------------------------------------
 */

static struct agent_conn *least_loaded(struct agent *agent)
{
    struct agent_conn *best = NULL;

    LIST_EACH(&agent->by_state[AGENT_CONN_READY], link)
    {
        struct agent_conn *conn = LIST_ITEM(link, struct agent_conn, link);

        if (http_client_capacity(conn->client) > 0 &&
            (best == NULL || conn->client->open_count < best->client->open_count))
            best = conn;
    }
    return best;
}

/* The conn that became idle last: the agent has had the least time to close it, and the others get
 * old and leave. */
static struct agent_conn *last_used(struct agent *agent)
{
    struct list *ready = &agent->by_state[AGENT_CONN_READY];

    for (struct list *link = ready->prev; link != ready; link = link->prev) {
        struct agent_conn *conn = LIST_ITEM(link, struct agent_conn, link);

        if (http_client_capacity(conn->client) > 0)
            return conn;
    }
    return NULL;
}

struct agent_conn *agent_pick(struct agent *agent)
{
    return is_h1(agent) ? last_used(agent) : least_loaded(agent);
}

/* Waits that are made by the callbacks of this round have their turn in the next one, so that a
 * caller who waits again without using what it got cannot keep the loop here. */
static struct upstream_wait *first_wait(struct agent *agent)
{
    struct upstream_wait *wait =
        agent->wait_count > 0 ? LIST_FIRST(&agent->waits, struct upstream_wait, link) : NULL;

    return wait != NULL && wait->round != agent->round ? wait : NULL;
}

static void serve_waits(struct agent *agent)
{
    struct upstream_wait *wait;
    struct agent_conn *conn;

    agent->round++;
    while ((wait = first_wait(agent)) != NULL && (conn = agent_pick(agent)) != NULL) {
        upstream_ready_fn *on_ready = wait->on_ready;
        void *arg = wait->arg;

        upstream_wait_free(wait);
        on_ready(arg, STATUS_OK, agent_conn_use(conn));
    }
    if (agent->wait_count > 0 && agent_pick(agent) != NULL)
        agent_review(agent);
}

static bool dial_would_help(const struct agent *agent)
{
    const struct upstream_options *options = &agent->pool->options;
    size_t dialing = agent->count[AGENT_CONN_DIALING];

    if (agent->wait_count == 0 || agent->count[AGENT_CONN_READY] > 0)
        return false;
    if (is_h1(agent))
        return dialing < agent->wait_count && conn_count(agent) < options->h1_conns;
    return dialing == 0 && live_count(agent) < options->h2_conns &&
           conn_count(agent) < options->h2_conns * CONNS_IN_ALL_FACTOR;
}

static void dial(struct agent *agent)
{
    while (dial_would_help(agent) && agent_health_may_dial(&agent->health, now_ms(agent))) {
        agent_health_dial_started(&agent->health, now_ms(agent));
        agent_conn_create(agent);
    }
}

static void agent_free(struct agent *agent)
{
    if (agent->computer != NULL) {
        list_unlink(&agent->sibling);
        agent_review(agent->computer);
    } else {
        map_remove(&agent->pool->agents, &agent->entry);
    }
    timer_cancel(&agent->rest);
    task_cancel(&agent->serve);
    identity_deinit(&agent->identity);
    mem_free(agent);
}

/* Nothing is under way that would call agent_review() in time: sleep until time itself changes
 * something. */
static void rest(struct agent *agent)
{
    const struct agent_health *health = &agent->health;
    uint64_t now = now_ms(agent);
    uint64_t until_ms = agent->wait_count > 0 ? health->open_until_ms : health->forget_at_ms;

    if (until_ms > now)
        timer_arm(&agent->rest, until_ms - now);
}

static void serve(struct task *task)
{
    struct agent *agent = CONTAINER_OF(task, struct agent, serve);

    timer_cancel(&agent->rest);
    serve_waits(agent);
    if (live_count(agent) == 0 && agent_health_is_open(&agent->health, now_ms(agent))) {
        counter_add(&agent->pool->counters.backoffs, agent->wait_count);
        fail_waits(agent, STATUS_AGENT_UNREACHABLE);
    }
    dial(agent);
    if (agent->wait_count == 0 && conn_count(agent) == 0 && list_is_empty(&agent->ports) &&
        agent_health_is_quiet(&agent->health, now_ms(agent)))
        agent_free(agent);
    else
        rest(agent);
}

void agent_review(struct agent *agent)
{
    task_defer_next(agent->pool->loop, &agent->serve);
}

static void on_rested(struct timer *timer)
{
    agent_review(CONTAINER_OF(timer, struct agent, rest));
}

void agent_add_wait(struct agent *agent, struct upstream_wait *wait)
{
    wait->agent = agent;
    wait->round = agent->round;
    list_append(&agent->waits, &wait->link);
    agent->wait_count++;
    if (agent->wait_count > agent->pool->options.pending)
        upstream_wait_fail(wait, STATUS_AGENT_BUSY);
    else
        agent_review(agent);
}

enum status agent_late_status(const struct agent *agent)
{
    bool is_dialing = agent->count[AGENT_CONN_DIALING] > 0 && live_count(agent) == 0;

    return is_dialing ? STATUS_AGENT_TIMED_OUT : STATUS_AGENT_BUSY;
}

/* --- health
 * -------------------------------------------------------------------------------------------------
 */

static void failed(struct agent *agent)
{
    if (agent->computer !=
        NULL) /* a port: the agent has a health of its own, apps are not punished */
        return;
    (void)agent_health_failed(&agent->health, &agent->pool->health, now_ms(agent), arc4random());
}

void agent_dial_ended(struct agent *agent, enum status status)
{
    struct upstream_counters *counters = &agent->pool->counters;

    agent_review(agent);
    if (status == STATUS_OK) {
        counter_add(&counters->connects, 1);
        agent_health_connected(&agent->health);
        return;
    }
    counter_add(&counters->connect_failures, 1);
    if (status == STATUS_ROUTE_REFUSED) {
        counter_add(&counters->refused_addresses, 1);
        agent_health_undecided(&agent->health);
    } else {
        failed(agent);
    }
    /* Whoever can still be served by another conn goes on waiting. */
    if (live_count(agent) + agent->count[AGENT_CONN_DIALING] == 0)
        fail_waits(agent, status);
    else if (is_h1(agent) && agent->wait_count > 0)
        upstream_wait_fail(LIST_FIRST(&agent->waits, struct upstream_wait, link), status);
}

void agent_conn_was_lost(struct agent *agent, const struct agent_conn *conn)
{
    counter_add(&agent->pool->counters.lost, 1);
    if (!conn->was_used || conn->has_completed_one)
        return;
    if (now_ms(agent) - conn->opened_ms >= agent->pool->health.max_ms)
        agent_health_proved(&agent->health); /* its streams are just long */
    else
        failed(agent);
}

void agent_proved(struct agent *agent)
{
    agent_health_proved(&agent->health);
}

/* --- life
 * -----------------------------------------------------------------------------------------------------
 */

struct agent *agent_find(struct upstream_pool *pool, struct slice computer_id)
{
    struct map_entry *entry = map_find(&pool->agents, computer_id);

    return entry != NULL ? CONTAINER_OF(entry, struct agent, entry) : NULL;
}

static struct agent *find_port(struct agent *computer, const struct upstream_target *target)
{
    LIST_EACH(&computer->ports, link)
    {
        struct agent *port = LIST_ITEM(link, struct agent, sibling);

        /* One port may speak both protocols (`auto`): each has its own connections. */
        if (port->identity.port == target->port && port->identity.via == target->via &&
            port->identity.protocol == target->protocol)
            return port;
    }
    return NULL;
}

struct agent *agent_find_target(struct upstream_pool *pool, const struct upstream_target *target)
{
    struct agent *agent = agent_find(pool, target->computer_id);

    return agent == NULL || target->port == 0 ? agent : find_port(agent, target);
}

struct upstream_target agent_carrier(const struct upstream_target *target)
{
    struct upstream_target carrier = *target;

    carrier.port = 0;
    carrier.via = UPSTREAM_VIA_AGENT;
    carrier.protocol = UPSTREAM_H2;
    return carrier;
}

static struct agent *agent_create(struct upstream_pool *pool, const struct upstream_target *target)
{
    struct agent *agent = mem_zeroed(sizeof(*agent));

    agent->pool = pool;
    identity_init(&agent->identity, target);
    for (enum agent_conn_state state = 0; state < AGENT_CONN_STATE_COUNT; state++)
        list_init(&agent->by_state[state]);
    list_init(&agent->waits);
    list_init(&agent->ports);
    list_init(&agent->sibling);
    task_init(&agent->serve, serve);
    timer_init(&agent->rest, pool->loop, on_rested);
    return agent;
}

static struct agent *computer_create(struct upstream_pool *pool,
                                     const struct upstream_target *target)
{
    struct agent *agent = agent_create(pool, target);

    agent->entry.key = agent->identity.computer_id;
    map_insert(&pool->agents, &agent->entry);
    return agent;
}

static struct agent *port_create(struct upstream_pool *pool, const struct upstream_target *target)
{
    struct agent *agent = agent_create(pool, target);
    struct upstream_target carrier = agent_carrier(target);

    agent->computer = agent_find(pool, target->computer_id);
    if (agent->computer == NULL)
        agent->computer = computer_create(pool, &carrier);
    list_append(&agent->computer->ports, &agent->sibling);
    return agent;
}

struct agent *agent_for(struct upstream_pool *pool, const struct upstream_target *target)
{
    struct agent *agent = agent_find_target(pool, target);

    if (agent == NULL)
        return target->port == 0 ? computer_create(pool, target) : port_create(pool, target);
    if (!agent_is(agent, target))
        agent_become(agent, target);
    return agent;
}

void agent_forget(struct agent *agent)
{
    LIST_EACH(&agent->ports, link)
    agent_forget(LIST_ITEM(link, struct agent, sibling));
    drop_everything(agent);
    agent_review(agent);
}

void agent_destroy(struct agent *agent)
{
    LIST_EACH(&agent->ports, link)
    agent_destroy(LIST_ITEM(link, struct agent, sibling));
    drop_everything(agent);
    agent_free(agent);
}
