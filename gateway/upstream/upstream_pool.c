/* upstream/upstream_pool.c — the pool's public face: taking, waiting, forgetting; and the
 * end-of-turn work that all agents share. What one agent needs is in agent.c. */
#include "upstream/upstream_pool.h"

#include "base/mem.h"
#include "upstream/agent.h"

static void on_clean_up(struct task *task);

struct upstream_pool *upstream_pool_create(struct loop *loop,
                                           const struct upstream_options *options)
{
    struct upstream_pool *pool = mem_zeroed(sizeof(*pool));

    ENSURE(options->limits != NULL && options->connect_ms > 0 && options->pending_ms > 0);
    ENSURE(options->h1_conns > 0 && options->h2_conns > 0 && options->backoff_failures > 0);
    pool->loop = loop;
    pool->options = *options;
    pool->health = (struct agent_health_options){
        .min_ms = options->backoff_min_ms,
        .max_ms = options->backoff_max_ms,
        .failures = options->backoff_failures,
    };
    allow_list_init(&pool->allow, options->allow, options->allow_count);
    pool->options.allow = NULL;
    pool->dial = (struct dialer_options){
        .loop = loop,
        .allow = &pool->allow,
        .limits = options->limits,
        .connect_ms = options->connect_ms,
    };
    list_init(&pool->departed);
    list_init(&pool->failed);
    task_init(&pool->clean_up, on_clean_up);
    return pool;
}

static void destroy_departed(struct upstream_pool *pool)
{
    while (!list_is_empty(&pool->departed))
        agent_conn_destroy(LIST_FIRST(&pool->departed, struct agent_conn, link));
}

static void destroy_agent(struct map_entry *entry, void *arg)
{
    (void)arg;
    agent_destroy(CONTAINER_OF(entry, struct agent, entry));
}

void upstream_pool_destroy(struct upstream_pool **pool)
{
    struct upstream_pool *p = *pool;

    if (p == NULL)
        return;
    p->is_closing = true;
    map_each(&p->agents, destroy_agent, NULL);
    destroy_departed(p);
    while (!list_is_empty(&p->failed)) { /* stay with their owners */
        struct upstream_wait *wait = LIST_FIRST(&p->failed, struct upstream_wait, link);

        list_unlink(&wait->link);
        wait->pool = NULL;
    }
    task_cancel(&p->clean_up);
    map_deinit(&p->agents);
    allow_list_deinit(&p->allow);
    mem_free(p);
    *pool = NULL;
}

void upstream_pool_set_own(struct upstream_pool *pool, const struct address *listeners,
                           size_t count)
{
    allow_list_set_own(&pool->allow, listeners, count);
}

struct http_client *upstream_pool_take(struct upstream_pool *pool,
                                       const struct upstream_target *target)
{
    struct agent *agent = agent_find_target(pool, target);

    if (agent == NULL || pool->is_closing)
        return NULL;
    if (!agent_is(agent, target)) {
        agent_become(agent, target);
        return NULL;
    }
    if (agent->wait_count > 0)
        return NULL; /* who came first is served first */

    struct agent_conn *conn = agent_pick(agent);

    return conn != NULL ? agent_conn_use(conn) : NULL;
}

void upstream_pool_forget(struct upstream_pool *pool, struct slice computer_id)
{
    struct agent *agent = agent_find(pool, computer_id);

    if (agent != NULL)
        agent_forget(agent);
}

const struct upstream_counters *upstream_pool_counters(const struct upstream_pool *pool)
{
    return &pool->counters;
}

/* --- waiting
 * ------------------------------------------------------------------------------------------------
 */

static void on_wait_late(struct timer *timer)
{
    struct upstream_wait *wait = CONTAINER_OF(timer, struct upstream_wait, deadline);

    agent_review(wait->agent);
    upstream_wait_fail(wait, agent_late_status(wait->agent));
}

struct upstream_wait *upstream_wait_start(struct upstream_pool *pool,
                                          const struct upstream_target *target,
                                          upstream_ready_fn *on_ready, void *arg)
{
    struct upstream_wait *wait = mem_zeroed(sizeof(*wait));

    list_init(&wait->link);
    timer_init(&wait->deadline, pool->loop, on_wait_late);
    wait->on_ready = on_ready;
    wait->arg = arg;
    if (pool->is_closing)
        return wait; /* its owner will cancel it */
    wait->pool = pool;
    timer_arm(&wait->deadline, pool->options.pending_ms);
    agent_add_wait(agent_for(pool, target), wait);
    return wait;
}

static void leave_agent(struct upstream_wait *wait)
{
    struct agent *agent = wait->agent;

    timer_cancel(&wait->deadline);
    list_unlink(&wait->link);
    wait->agent = NULL;
    if (agent != NULL)
        agent->wait_count--;
}

void upstream_wait_fail(struct upstream_wait *wait, enum status status)
{
    struct upstream_pool *pool = wait->pool;

    leave_agent(wait);
    wait->status = status;
    if (status == STATUS_AGENT_BUSY)
        counter_add(&pool->counters.busy, 1);
    list_append(&pool->failed, &wait->link);
    task_defer_next(pool->loop, &pool->clean_up);
}

void upstream_wait_free(struct upstream_wait *wait)
{
    leave_agent(wait);
    mem_free(wait);
}

void upstream_wait_cancel(struct upstream_wait **wait)
{
    if (*wait == NULL)
        return;
    if ((*wait)->agent != NULL)
        agent_review((*wait)->agent);
    upstream_wait_free(*wait);
    *wait = NULL;
}

/* Only those that failed before this round: a caller that waits again at once cannot keep the loop
 * here. */
static void tell_failed(struct upstream_pool *pool)
{
    struct list telling;

    list_init(&telling);
    list_move_all(&telling, &pool->failed);
    while (!list_is_empty(&telling)) {
        struct upstream_wait *wait = LIST_FIRST(&telling, struct upstream_wait, link);
        upstream_ready_fn *on_ready = wait->on_ready;
        void *arg = wait->arg;
        enum status status = wait->status;

        upstream_wait_free(wait);
        on_ready(arg, status, NULL);
    }
}

static void on_clean_up(struct task *task)
{
    struct upstream_pool *pool = CONTAINER_OF(task, struct upstream_pool, clean_up);

    destroy_departed(pool);
    tell_failed(pool);
}
