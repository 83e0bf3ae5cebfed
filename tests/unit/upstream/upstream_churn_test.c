/* Everything at once, in random order: requests, waits, cancels, new boots, forgotten computers,
 * agents that vanish and come back. Nothing may leak, hang, be told twice or be counted wrong. The
 * seed is fixed; CHURN_SEED=n tries another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "pool_fixture.h"
#include "served_agent.h"

enum { STEPS = 3000, SLOTS = 24, COMPUTERS = 3 };

struct slot {
    struct waiter waiter; /* its request serves takers, too */
    bool is_used;
};

struct churn {
    struct fixture *base;
    struct served_agent agent, app;
    struct slot slots[SLOTS];
    unsigned boots[COMPUTERS];
    uint64_t random;
};

static unsigned random_below(struct churn *c, unsigned bound)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return (unsigned)(c->random >> 33) % bound;
}

static void aim(struct churn *c)
{
    static const char *const ids[COMPUTERS] = { "cmp_1", "cmp_2", "cmp_3" };
    static const char *const boots[2] = { "boot_1", "boot_2" };
    unsigned computer = random_below(c, COMPUTERS);

    c->base->target = (struct upstream_target){
        .computer_id = slice_from_string(ids[computer]),
        .boot = slice_from_string(boots[c->boots[computer] % 2]),
        .agent = slice_from_string(c->agent.text),
        .protocol = computer == 1 ? UPSTREAM_H1 : UPSTREAM_H2,
    };
    if (computer == 2 && random_below(c, 2) == 0) {
        c->base->target.port =
            random_below(c, 8) == 0 ? SERVED_PORT_RESETS : served_agent_port(&c->app);
        c->base->target.protocol = random_below(c, 40) == 0 ? UPSTREAM_H2 : UPSTREAM_H1;
        c->base->target.via = random_below(c, 4) == 0 ? UPSTREAM_VIA_DIRECT : UPSTREAM_VIA_AGENT;
    }
    if (random_below(c, 100) == 0)
        c->boots[computer]++;
}

static void finish(struct slot *slot)
{
    upstream_wait_cancel(&slot->waiter.wait);
    request_close(&slot->waiter.request);
    slot->is_used = false;
}

static void step(struct churn *c)
{
    struct slot *slot = &c->slots[random_below(c, SLOTS)];
    struct fixture *f = c->base;

    aim(c);
    if (slot->is_used) {
        finish(slot);
        return;
    }

    struct http_client *client = upstream_pool_take(f->pool, &f->target);

    slot->is_used = true;
    if (client == NULL) {
        waiter_start(&slot->waiter, f, random_below(c, 8) != 0);
        return;
    }
    slot->waiter = (struct waiter){ .fixture = f };
    if (random_below(c, 4) == 0)
        request_open_unended(&slot->waiter.request, client);
    else if (random_below(c, 10) != 0) /* or leaves it unused */
        request_open(&slot->waiter.request, client);
}

static void disturb(struct churn *c)
{
    switch (random_below(c, 60)) {
    case 0:
        upstream_pool_forget(c->base->pool, c->base->target.computer_id);
        break;
    case 1:
        served_agent_deinit(&c->agent);
        loop_turn(c->base->loop, 1);
        served_agent_init(&c->agent, c->base->loop, NULL);
        break;
    case 2:
        http_server_drain(c->agent.server, 0);
        served_agent_deinit(&c->app);
        served_agent_init(&c->app, c->base->loop, NULL);
        break;
    default:
        loop_turn(c->base->loop, (int)random_below(c, 3));
    }
}

static struct churn *churn_create(void)
{
    struct churn *c = mem_zeroed(sizeof(*c));
    const char *seed = getenv("CHURN_SEED");
    void *base;

    fixture_setup(&base);
    c->base = base;
    c->random = 88172645463325252u + (seed != NULL ? strtoull(seed, NULL, 10) : 0);
    served_agent_init(&c->agent, c->base->loop, NULL);
    served_agent_init(&c->app, c->base->loop, NULL);
    c->base->options.backoff_min_ms = 5;
    c->base->options.backoff_max_ms = 20;
    c->base->options.idle_ms = 20;
    fixture_recreate_pool(c->base);
    return c;
}

static void churn_destroy(struct churn *c)
{
    void *base = c->base;

    upstream_pool_destroy(&c->base->pool);
    for (unsigned i = 0; i < SLOTS; i++)
        finish(&c->slots[i]);
    served_agent_deinit(&c->agent);
    served_agent_deinit(&c->app);
    fixture_teardown(&base);
    mem_free(c);
}

static void after_any_churn_the_pool_comes_to_rest(void **state)
{
    struct churn *c = churn_create();

    (void)state;
    for (unsigned i = 0; i < STEPS; i++) {
        step(c);
        disturb(c);
    }
    assert_true(COUNT_OF(c->base, reuses) > 0 && COUNT_OF(c->base, lost) > 0);
    for (unsigned i = 0; i < SLOTS; i++)
        finish(&c->slots[i]);
    TURN_UNTIL(c->base, COUNT_OF(c->base, conns_open) == 0); /* idle ones leave */
    assert_int_equal(COUNT_OF(c->base, streams_open), 0);
    churn_destroy(c);
}

static void the_pool_may_go_in_the_middle_of_it(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 10; round++) {
        struct churn *c = churn_create();

        c->random += round * 7919;
        for (unsigned i = 0; i < STEPS / 20; i++) {
            step(c);
            disturb(c);
        }
        churn_destroy(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_any_churn_the_pool_comes_to_rest),
        cmocka_unit_test(the_pool_may_go_in_the_middle_of_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
