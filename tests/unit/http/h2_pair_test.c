/* h2_pair_test.c — our HTTP/2 client against our HTTP/2 server over a memory conn: bytes arrive
 * whole and in order however the transport cuts them, and no order of operations breaks the
 * lifetimes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "conn_memory.h"
#include "h2_recorder.h"
#include "http/client.h"
#include "http/server.h"

enum { PAIRS_MAX = 4000 };

struct fixture {
    struct loop *loop;
    struct http_limits limits;
    struct conn_memory_options wire;
    struct http_server *server;
    struct http_client *client;
    struct conn *client_conn;
    struct recorder requests[PAIRS_MAX]; /* server side */
    struct recorder calls[PAIRS_MAX];    /* client side */
    size_t request_count, call_count;
    bool echoes;
    uint32_t seed;
};

/* ---- an owner that sends back what it gets, and takes more only as that drains ---- */

static void echo_body(struct exchange *exchange, struct slice bytes)
{
    exchange_write(exchange, bytes);
}

static void echo_end(struct exchange *exchange, const struct fields *trailers)
{
    exchange_end(exchange, trailers);
}

static void echo_drained(struct exchange *exchange, size_t size_bytes)
{
    exchange_consumed(exchange, size_bytes);
}

static void echo_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct recorder *recorder = exchange->owner;
    (void)reason;

    exchange_release(&recorder->exchange);
}

static const struct exchange_events echo_events = {
    .on_body = echo_body,
    .on_end = echo_end,
    .on_drained = echo_drained,
    .on_reset = echo_reset,
};

static void on_request(void *owner, struct exchange *exchange)
{
    struct fixture *f = owner;
    struct recorder *recorder = &f->requests[f->request_count++];

    recorder_take(recorder, exchange);
    recorder->ended = exchange->in_ended;
    exchange->link->is_trusted = true;
    if (!f->echoes)
        return;
    exchange_set_owner(exchange, &echo_events, recorder);
    recorder_send_head(recorder, 200, false);
    if (exchange->in_ended)
        exchange_end(exchange, NULL);
}

static void on_nothing(void *owner)
{
    (void)owner;
}

static void on_closing(void *owner, enum status reason)
{
    (void)owner;
    (void)reason;
}

static void on_client_closed(void *owner)
{
    struct fixture *f = owner;

    f->client_conn = NULL;
    http_client_destroy(&f->client);
}

static const struct http_client_events client_events = {
    .on_ready = on_nothing,
    .on_capacity = on_nothing,
    .on_closing = on_closing,
    .on_closed = on_client_closed,
};

static void turns(struct fixture *f, unsigned count)
{
    while (count-- > 0)
        loop_turn(f->loop, 0);
}

static int setup(void **state)
{
    struct fixture *f = mem_zeroed(sizeof(*f));

    ENSURE(loop_create(&f->loop) == STATUS_OK);
    http_limits_init(&f->limits);
    f->seed = 42;
    *state = f;
    return 0;
}

static void join(struct fixture *f)
{
    struct conn *far;

    if (f->server == NULL)
        f->server = http_server_create(
            f->loop, &(struct http_server_options){
                         .limits = &f->limits, .on_request = on_request, .owner = f });
    conn_memory_pair(f->loop, &f->wire, &f->client_conn, &far);
    http_server_accept(f->server, far, NULL, NULL);
    turns(f, 2);
    f->client = h2_client_create(f->client_conn, &f->limits, &client_events, f);
    turns(f, 4);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    http_client_destroy(&f->client);
    http_server_destroy(&f->server);
    for (size_t i = 0; i < f->request_count; i++) {
        assert_int_equal(f->requests[i].events_after_end, 0);
        recorder_deinit(&f->requests[i]);
    }
    for (size_t i = 0; i < f->call_count; i++) {
        assert_int_equal(f->calls[i].events_after_end, 0);
        recorder_deinit(&f->calls[i]);
    }
    turns(f, 1);
    loop_destroy(&f->loop);
    mem_free(f);
    return 0;
}

static uint32_t dice(struct fixture *f, uint32_t sides)
{
    f->seed = f->seed * 1664525 + 1013904223;
    return (f->seed >> 8) % sides;
}

static struct recorder *call(struct fixture *f, bool end)
{
    static const struct head head = { .method = { "POST", 4 },
                                      .scheme = { "http", 4 },
                                      .authority = { "agent.test", 10 },
                                      .target = { "/echo", 5 },
                                      .content_length = CONTENT_LENGTH_UNKNOWN };
    struct recorder *recorder = &f->calls[f->call_count++];

    recorder->exchange = http_client_open(f->client, &head, end, &recorder_events, recorder);
    return recorder;
}

static void fill(struct fixture *f, char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (char)dice(f, 256);
}

static void check_echo(struct fixture *f, size_t size_bytes, unsigned turns_max)
{
    static char bytes[1 << 20];
    struct recorder *r = call(f, false);

    fill(f, bytes, size_bytes);
    exchange_write(r->exchange, slice_of(bytes, size_bytes));
    exchange_end(r->exchange, NULL);
    while (!r->ended && !r->reset && turns_max-- > 0)
        turns(f, 1);
    assert_true(r->ended);
    assert_int_equal(r->status, 200);
    assert_true(slice_equal(buf_slice(&r->body), slice_of(bytes, size_bytes)));
}

static void bodies_come_back_whole(void **state)
{
    static const size_t sizes[] = { 1, 16384, 16385, 65535, 65536, 65537, 1 << 20 };
    struct fixture *f = *state;

    f->echoes = true;
    join(f);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        check_echo(f, sizes[i], 2000);
}

static void bodies_come_back_whole_byte_by_byte(void **state)
{
    struct fixture *f = *state;

    f->echoes = true;
    f->wire.read_bytes = 1;
    join(f);
    turns(f, 300);
    check_echo(f, 3000, 100000); /* each byte comes back in a frame of its own */
}

static void bodies_come_back_whole_through_a_narrow_pipe(void **state)
{
    struct fixture *f = *state;

    f->echoes = true;
    f->wire.pipe_bytes = 700;
    f->wire.write_bytes = 97;
    join(f);
    turns(f, 50);
    check_echo(f, 200000, 200000);
}

static void many_streams_at_once_do_not_mix(void **state)
{
    static char bytes[100][30000];
    struct fixture *f = *state;
    bool done = false;

    f->echoes = true;
    join(f);
    for (size_t i = 0; i < 100; i++) {
        fill(f, bytes[i], sizeof(bytes[i]));
        call(f, false);
    }
    for (size_t at = 0; at < sizeof(bytes[0]); at += 3000) {
        for (size_t i = 0; i < 100; i++)
            exchange_write(f->calls[i].exchange, slice_of(bytes[i] + at, 3000));
        turns(f, 1);
    }
    for (size_t i = 0; i < 100; i++)
        exchange_end(f->calls[i].exchange, NULL);
    for (int i = 0; i < 2000 && !done; i++) {
        turns(f, 1);
        done = true;
        for (size_t j = 0; j < 100; j++)
            done = done && f->calls[j].ended;
    }
    assert_true(done);
    for (size_t i = 0; i < 100; i++)
        assert_true(slice_equal(buf_slice(&f->calls[i].body), slice_of(bytes[i], 30000)));
}

/* The client reads nothing of one call: the server may not hold more than a window of it, and
 * others pass. */
static void a_reader_that_stops_holds_back_only_itself(void **state)
{
    static char bytes[1 << 20];
    struct fixture *f = *state;

    f->echoes = true;
    join(f);
    struct recorder *stopped = call(f, false);
    stopped->holds = true;
    exchange_write(stopped->exchange, slice_of(bytes, sizeof(bytes)));
    turns(f, 200);
    assert_int_equal(stopped->body.len, 65536);
    assert_in_range(f->requests[0].exchange->out.len, 0, 65536);
    assert_in_range(stopped->exchange->out.len, sizeof(bytes) - 4 * 65536, sizeof(bytes));
    check_echo(f, 500000, 2000);
    exchange_consumed(stopped->exchange, 65536);
    stopped->holds = false;
    turns(f, 500);
    assert_int_equal(stopped->body.len, sizeof(bytes));
}

static void draining_the_server_closes_the_client_in_order(void **state)
{
    struct fixture *f = *state;

    join(f);
    struct recorder *r = call(f, true);
    turns(f, 4);
    http_server_drain(f->server, 0);
    turns(f, 8);
    assert_int_equal(http_client_capacity(f->client), 0);
    assert_false(r->reset);
    recorder_answer(&f->requests[0], "last words");
    turns(f, 8);
    assert_true(r->ended);
    assert_int_equal(r->body.len, 10);
    assert_null(f->client);
}

/* ---- every order of operations ---- */

/* CALM is rare: it ends the client's connection. */
static void reset_somehow(struct fixture *f, struct exchange *e)
{
    enum exchange_reset reason = (enum exchange_reset)dice(f, RESET_LOST + 1);

    exchange_reset(e, reason == RESET_CALM && dice(f, 20) != 0 ? RESET_CANCEL : reason);
}

static void act_on(struct fixture *f, struct recorder *r, bool is_server)
{
    static char bytes[20000];
    struct exchange *e = r->exchange;
    struct arena arena;
    struct fields trailers = { 0 };

    if (e == NULL)
        return;
    switch (dice(f, 12)) {
    case 0:
        if (!e->out_ended && e->out.len < 100000)
            exchange_write(e, slice_of(bytes, 1 + dice(f, sizeof(bytes))));
        break;
    case 1:
        exchange_end(e, NULL);
        break;
    case 2:
        arena_init(&arena, NULL, 0);
        fields_add_named(&trailers, &arena, SLICE("x-t"), SLICE("1"));
        exchange_end(e, &trailers);
        arena_deinit(&arena);
        break;
    case 3:
        reset_somehow(f, e);
        break;
    case 4:
        exchange_release(&r->exchange);
        break;
    case 5:
        if (is_server && !e->head_sent && !e->is_dead && !e->out_ended)
            recorder_send_head(r, 200, dice(f, 2) == 0 && e->out.len == 0);
        break;
    case 6:
        if (is_server && !e->head_sent)
            exchange_send_interim(e, &(struct head){ .status = 103 });
        break;
    case 7:
        r->on_body_act = (enum recorder_act)dice(f, 3);
        r->on_end_act = (enum recorder_act)dice(f, 3);
        r->on_reset_act = dice(f, 2) == 0 ? ACT_RELEASE : ACT_NOTHING;
        break;
    case 8:
        r->on_drained_act = (enum recorder_act)dice(f, 3);
        break;
    default:
        break;
    }
}

static void no_order_of_operations_breaks_anything(void **state)
{
    struct fixture *f = *state;

    f->limits.reset_burst = f->limits.streams_untrusted = 1000000;
    f->limits.streams = 1000;
    f->limits.reset_sample = 0;
    f->limits.streams_total = 1000000;
    for (uint32_t round = 0; round < 40; round++) {
        size_t first_call = f->call_count, first_request = f->request_count;

        f->seed = 1000 + round;
        f->wire.read_bytes = round % 3 == 0 ? 1 + dice(f, 50) : 0;
        f->wire.pipe_bytes = round % 4 == 0 ? 2000 : 0;
        join(f);
        for (int step = 0; step < 400; step++) {
            if (f->client != NULL && http_client_capacity(f->client) > 0 && dice(f, 10) == 0 &&
                f->call_count < first_call + 90)
                call(f, dice(f, 2) == 0);
            if (f->call_count > first_call)
                act_on(f, &f->calls[first_call + dice(f, (uint32_t)(f->call_count - first_call))],
                       false);
            if (f->request_count > first_request)
                act_on(f,
                       &f->requests[first_request +
                                    dice(f, (uint32_t)(f->request_count - first_request))],
                       true);
            if (dice(f, 3) == 0)
                turns(f, 1);
        }
        switch (round % 4) { /* how it ends */
        case 0:
            http_client_destroy(&f->client);
            break;
        case 1:
            if (f->client != NULL)
                conn_memory_break(f->client_conn);
            break;
        case 2:
            http_server_destroy(&f->server);
            break;
        default:
            if (f->client != NULL)
                http_client_close_gracefully(f->client);
            break;
        }
        turns(f, 20);
        http_client_destroy(&f->client);
        turns(f, 4);
    }
    assert_true(f->request_count > 1000);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(bodies_come_back_whole),
        T(bodies_come_back_whole_byte_by_byte),
        T(bodies_come_back_whole_through_a_narrow_pipe),
        T(many_streams_at_once_do_not_mix),
        T(a_reader_that_stops_holds_back_only_itself),
        T(draining_the_server_closes_the_client_in_order),
        T(no_order_of_operations_breaks_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
