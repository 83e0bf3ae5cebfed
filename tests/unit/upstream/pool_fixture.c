/* pool_fixture.c — see the header. */
#include "pool_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

static struct network network_of(const char *text)
{
    struct network network;

    assert_int_equal(network_parse(slice_from_string(text), &network), STATUS_OK);
    return network;
}

int fixture_setup(void **state)
{
    struct fixture *f = mem_zeroed(sizeof(*f));

    assert_int_equal(loop_create(&f->loop), STATUS_OK);
    http_limits_init(&f->limits);
    f->allow[0] = network_of("127.0.0.0/8");
    f->allow[1] = network_of("::1");
    f->options = (struct upstream_options){
        .limits = &f->limits,
        .allow = f->allow,
        .allow_count = 2,
        .h2_conns = 2,
        .h1_conns = 2,
        .pending = FIXTURE_PENDING,
        .pending_ms = FIXTURE_PENDING_MS,
        .connect_ms = FIXTURE_CONNECT_MS,
        .idle_ms = FIXTURE_IDLE_MS,
        .backoff_min_ms = FIXTURE_BACKOFF_MS,
        .backoff_max_ms = 2 * FIXTURE_BACKOFF_MS,
        .backoff_failures = 3,
    };
    raw_agent_bind(&f->agent);
    raw_agent_listen(&f->agent, 16);
    f->target = (struct upstream_target){
        .computer_id = SLICE("cmp_1"),
        .agent = slice_from_string(f->agent.text),
        .boot = SLICE("boot_1"),
        .protocol = UPSTREAM_H2,
    };
    f->pool = upstream_pool_create(f->loop, &f->options);
    *state = f;
    return 0;
}

void fixture_recreate_pool(struct fixture *fixture)
{
    upstream_pool_destroy(&fixture->pool);
    fixture->pool = upstream_pool_create(fixture->loop, &fixture->options);
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;

    upstream_pool_destroy(&f->pool);
    raw_agent_close(&f->agent);
    loop_destroy(&f->loop);
    mem_free(f);
    return 0;
}

void turn_for(struct fixture *fixture, uint64_t time_ms)
{
    uint64_t until_ms = loop_clock(fixture->loop)->now_ms + time_ms;

    while (loop_clock(fixture->loop)->now_ms < until_ms)
        loop_turn(fixture->loop, 5);
}

/* --- requests
 * ------------------------------------------------------------------------------------------- */

static void on_head(struct exchange *exchange, const struct head *head)
{
    struct request *request = exchange->owner;

    request->status = head->status;
    request->has_ended = exchange->in_ended;
}

static void on_interim(struct exchange *exchange, const struct head *head)
{
    (void)exchange;
    (void)head;
}

static void on_body(struct exchange *exchange, struct slice bytes)
{
    exchange_consumed(exchange, bytes.len);
}

static void on_end(struct exchange *exchange, const struct fields *trailers)
{
    struct request *request = exchange->owner;

    (void)trailers;
    request->has_ended = true;
}

static void on_drained(struct exchange *exchange, size_t size_bytes)
{
    (void)exchange;
    (void)size_bytes;
}

static void on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct request *request = exchange->owner;

    request->was_reset = true;
    request->reason = reason;
}

static const struct exchange_events request_events = {
    .on_interim = on_interim,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_drained = on_drained,
    .on_reset = on_reset,
};

static void open_request(struct request *request, struct http_client *client, bool end)
{
    static const struct head get = { .method = { "GET", 3 },
                                     .scheme = { "http", 4 },
                                     .authority = { "agent", 5 },
                                     .target = { "/health", 7 },
                                     .content_length = CONTENT_LENGTH_UNKNOWN };
    static const struct head post = { .method = { "POST", 4 },
                                      .scheme = { "http", 4 },
                                      .authority = { "agent", 5 },
                                      .target = { "/echo", 5 },
                                      .content_length = CONTENT_LENGTH_UNKNOWN };

    assert_non_null(client);
    assert_true(http_client_capacity(client) > 0);
    *request = (struct request){ 0 };
    request->exchange = http_client_open(client, end ? &get : &post, end, &request_events, request);
}

void request_open(struct request *request, struct http_client *client)
{
    open_request(request, client, true);
}

void request_open_unended(struct request *request, struct http_client *client)
{
    open_request(request, client, false);
}

void request_close(struct request *request)
{
    exchange_release(&request->exchange);
}

/* --- waits
 * ---------------------------------------------------------------------------------------------- */

static void on_ready(void *arg, enum status status, struct http_client *client)
{
    struct waiter *waiter = arg;

    assert_false(waiter->was_told);
    waiter->wait = NULL;
    waiter->was_told = true;
    waiter->status = status;
    waiter->order = ++waiter->fixture->order;
    assert_true((client != NULL) == (status == STATUS_OK));
    if (client != NULL && waiter->opens)
        request_open(&waiter->request, client);
}

void waiter_start(struct waiter *waiter, struct fixture *fixture, bool opens)
{
    *waiter = (struct waiter){ .fixture = fixture, .opens = opens };
    waiter->wait = upstream_wait_start(fixture->pool, &fixture->target, on_ready, waiter);
    assert_false(waiter->was_told);
}
