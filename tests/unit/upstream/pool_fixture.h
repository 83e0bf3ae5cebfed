/* pool_fixture.h — a pool with short times, requests and waits that note what happened to them. */
#pragma once

#include "raw_agent.h"
#include "upstream/upstream_pool.h"

enum {
    FIXTURE_CONNECT_MS = 600,
    FIXTURE_PENDING_MS = 700,
    FIXTURE_PENDING = 4,
    FIXTURE_IDLE_MS = 400,
    FIXTURE_BACKOFF_MS = 600,
    FIXTURE_LIMIT_MS = 5000
};

struct fixture {
    struct loop *loop;
    struct http_limits limits;
    struct network allow[2];
    struct upstream_options options; /* change before fixture_create_pool() */
    struct upstream_pool *pool;
    struct raw_agent agent;
    struct upstream_target target; /* h2 to `agent` */
    unsigned order;                /* counts on_ready calls */
};

/* cmocka setup and teardown; the pool and the agent's listening socket exist. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
void fixture_recreate_pool(struct fixture *fixture);

/* Turns the loop until `condition`; fails the test after FIXTURE_LIMIT_MS. */
#define TURN_UNTIL(fixture, condition)                                                             \
    do {                                                                                           \
        uint64_t until_ms = loop_clock((fixture)->loop)->now_ms + FIXTURE_LIMIT_MS;                \
        while (!(condition) && loop_clock((fixture)->loop)->now_ms < until_ms)                     \
            loop_turn((fixture)->loop, 5);                                                         \
        assert_true(condition);                                                                    \
    } while (0)

void turn_for(struct fixture *fixture, uint64_t time_ms);

struct request {
    struct exchange *exchange;
    unsigned status; /* of the response; 0: none yet */
    bool has_ended;
    bool was_reset;
    enum exchange_reset reason;
};

void request_open(struct request *request, struct http_client *client);
void request_open_unended(struct request *request, struct http_client *client); /* body to follow */
void request_close(struct request *request);                                    /* releases */

struct waiter {
    struct fixture *fixture;
    struct upstream_wait *wait; /* NULL once on_ready ran */
    bool was_told;
    unsigned order;
    enum status status;
    bool opens; /* a request, with what it gets */
    struct request request;
};

void waiter_start(struct waiter *waiter, struct fixture *fixture, bool opens);

#define COUNT_OF(fixture, name) (counter_read(&upstream_pool_counters((fixture)->pool)->name))
