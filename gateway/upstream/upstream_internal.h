/* upstream/upstream_internal.h — what the files of upstream/ know about a pool and nobody else
 * does.
 *
 *     upstream_pool ─▶ agent, one per computer ─▶ agent_conn, in the list of its state ─▶ dialer,
 * later http_client └─▶ upstream_wait, first come first served
 *
 * Nothing that a callback may still be inside of is freed on the spot: a conn that ends waits in
 * pool->departed, and a wait whose outcome is a failure in pool->failed, for the end of the next
 * one. So no function here calls an owner back before it returns, except the tasks. */
#pragma once

#include "base/map.h"
#include "net/timer.h"
#include "upstream/agent_health.h"
#include "upstream/allow_list.h"
#include "upstream/dialer.h"
#include "upstream/upstream_pool.h"

struct upstream_pool {
    struct loop *loop;
    struct upstream_options options;
    struct agent_health_options health;
    struct dialer_options dial;
    struct allow_list allow;
    struct upstream_counters counters;
    struct map agents;    /* by computer id */
    struct list departed; /* agent_conns that are to be destroyed */
    struct list failed;   /* waits that are to be told so */
    struct task clean_up; /* empties both */
    bool is_closing;
};

struct agent;

struct upstream_wait {
    struct list link;           /* in agent->waits or pool->failed */
    struct upstream_pool *pool; /* NULL when the pool went first */
    struct agent *agent;        /* NULL in pool->failed */
    enum status status;         /* in pool->failed */
    unsigned round;             /* of agent->round when it came */
    upstream_ready_fn *on_ready;
    void *arg;
    struct timer deadline;
};

/* The wait leaves its agent (if it has one) and hears `status` on the next turn. */
void upstream_wait_fail(struct upstream_wait *wait, enum status status);

/* Unlinks and frees; no callback. */
void upstream_wait_free(struct upstream_wait *wait);
