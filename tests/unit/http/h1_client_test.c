/* h1_client_test.c — the client side of HTTP/1.1 against a raw peer that is as hostile as a guest
 * may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "conn_memory.h"
#include "http/client.h"

enum { NOT_YET = -1 };

struct world {
    struct loop *loop;
    struct http_limits limits;
    struct conn *peer; /* the raw server */
    struct conn *ours;
    struct http_client *client;
    struct buf received; /* by the peer */
    bool peer_ended;
    unsigned ready_count, capacity_count, closing_count, closed_count;
    bool destroy_on_ready, destroy_on_closed;
    /* the exchange */
    struct exchange *exchange;
    struct buf body, trailers, interims;
    unsigned status;
    bool in_ended_with_head, ended;
    int reset;
    size_t drained_bytes;
    bool keeps; /* does not consume */
};

/* ---- the owner ---- */

static void on_interim(struct exchange *exchange, const struct head *head)
{
    struct world *w = exchange->owner;

    assert_int_equal(w->status, 0);
    buf_printf(&w->interims, "%u;", head->status);
}

static void on_head(struct exchange *exchange, const struct head *head)
{
    struct world *w = exchange->owner;

    assert_int_equal(w->status, 0);
    w->status = head->status;
    w->in_ended_with_head = exchange->in_ended;
}

static void on_body(struct exchange *exchange, struct slice bytes)
{
    struct world *w = exchange->owner;

    assert_true(w->status != 0 && bytes.len > 0 && !w->ended);
    buf_append(&w->body, bytes);
    if (!w->keeps)
        exchange_consumed(exchange, bytes.len);
}

static void on_end(struct exchange *exchange, const struct fields *trailers)
{
    struct world *w = exchange->owner;

    assert_false(w->ended || w->in_ended_with_head);
    w->ended = true;
    for (size_t i = 0; i < trailers->count; i++)
        buf_printf(&w->trailers, "%.*s=%.*s;", SLICE_ARGS(trailers->items[i].name),
                   SLICE_ARGS(trailers->items[i].value));
}

static void on_drained(struct exchange *exchange, size_t size_bytes)
{
    ((struct world *)exchange->owner)->drained_bytes += size_bytes;
}

static void on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct world *w = exchange->owner;

    assert_int_equal(w->reset, NOT_YET);
    w->reset = (int)reason;
    exchange_release(&w->exchange);
}

static const struct exchange_events owner_events = {
    .on_interim = on_interim,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_drained = on_drained,
    .on_reset = on_reset,
};

static void on_ready(void *owner)
{
    struct world *w = owner;

    assert_int_equal(w->capacity_count + w->closing_count, 0);
    w->ready_count++;
    if (w->destroy_on_ready)
        http_client_destroy(&w->client);
}

static void on_capacity(void *owner)
{
    ((struct world *)owner)->capacity_count++;
}

static void on_closing(void *owner, enum status reason)
{
    struct world *w = owner;

    assert_true(reason != STATUS_OK);
    assert_int_equal(http_client_capacity(w->client), 0);
    w->closing_count++;
}

static void on_closed(void *owner)
{
    struct world *w = owner;

    assert_int_equal(w->closing_count, 1);
    w->closed_count++;
    if (w->destroy_on_closed)
        http_client_destroy(&w->client);
}

static const struct http_client_events client_events = {
    .on_ready = on_ready,
    .on_capacity = on_capacity,
    .on_closing = on_closing,
    .on_closed = on_closed,
};

/* ---- the peer ---- */

static void peer_opened(void *owner, enum status status)
{
    struct world *w = owner;

    assert_int_equal(status, STATUS_OK);
    conn_want_read(w->peer, true);
}

static void peer_readable(void *owner)
{
    struct world *w = owner;
    size_t count = 0;
    enum status status = conn_read(w->peer, buf_reserve(&w->received, 65536), 65536, &count);

    if (status == STATUS_OK)
        buf_commit(&w->received, count);
    else if (status != STATUS_AGAIN)
        w->peer_ended = true;
}

static void peer_writable(void *owner)
{
    (void)owner;
}

static const struct conn_events peer_events = {
    .on_open = peer_opened,
    .on_readable = peer_readable,
    .on_writable = peer_writable,
};

static void turn(struct world *w, unsigned count)
{
    while (count-- > 0)
        loop_turn(w->loop, 0);
}

static void forget_exchange(struct world *w)
{
    exchange_release(&w->exchange);
    buf_deinit(&w->body);
    buf_deinit(&w->trailers);
    buf_deinit(&w->interims);
    w->status = 0;
    w->in_ended_with_head = w->ended = false;
    w->reset = NOT_YET;
    w->drained_bytes = 0;
}

static void end_conn(struct world *w)
{
    http_client_destroy(&w->client);
    forget_exchange(w);
    conn_destroy(&w->peer);
    buf_deinit(&w->received);
    w->peer_ended = false;
    w->ready_count = w->capacity_count = w->closing_count = w->closed_count = 0;
}

static void join(struct world *w, size_t read_bytes)
{
    end_conn(w);
    conn_memory_pair(w->loop, &(struct conn_memory_options){ .read_bytes = read_bytes }, &w->ours,
                     &w->peer);
    conn_memory_limit(w->peer, 0, 0);
    conn_set_owner(w->peer, &peer_events, w);
    turn(w, 2);
    w->client = h1_client_create(w->ours, &w->limits, &client_events, w);
}

static const struct head plain_get = {
    .method = { "GET", 3 },
    .scheme = { "http", 4 },
    .authority = { "a.example", 9 },
    .target = { "/x?y", 4 },
    .content_length = CONTENT_LENGTH_UNKNOWN,
};

static void start(struct world *w, const struct head *head, bool end)
{
    forget_exchange(w);
    assert_int_equal(http_client_capacity(w->client), 1);
    w->exchange = http_client_open(w->client, head, end, &owner_events, w);
    turn(w, 3);
}

static void answer(struct world *w, struct slice text)
{
    size_t count;

    assert_int_equal(conn_write(w->peer, &text, 1, &count), STATUS_OK);
    assert_int_equal(count, text.len);
    turn(w, (unsigned)text.len + 4);
}

static void assert_received(struct world *w, const char *text)
{
    if (!slice_equal(buf_slice(&w->received), slice_from_string(text)))
        fail_msg("peer received: %.*s", SLICE_ARGS(buf_slice(&w->received)));
}

static void assert_body(struct world *w, const char *text)
{
    if (!slice_equal(buf_slice(&w->body), slice_from_string(text)))
        fail_msg("body: %.*s", SLICE_ARGS(buf_slice(&w->body)));
}

static int setup(void **state)
{
    struct world *w = mem_zeroed(sizeof(*w));

    assert_int_equal(loop_create(&w->loop), STATUS_OK);
    http_limits_init(&w->limits);
    w->reset = NOT_YET;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    end_conn(w);
    turn(w, 2);
    loop_destroy(&w->loop);
    mem_free(w);
    return 0;
}

/* ---- readiness ---- */

static void a_client_is_ready_once_on_a_later_turn(void **state)
{
    struct world *w = *state;

    join(w, 0);
    assert_int_equal(w->ready_count, 0);
    turn(w, 1);
    assert_int_equal(w->ready_count, 1);
    start(w, &plain_get, true);
    answer(w, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert_int_equal(w->capacity_count, 1);
    assert_int_equal(w->ready_count, 1);
}

static void a_request_of_the_first_turn_goes_out_all_the_same(void **state)
{
    struct world *w = *state;

    join(w, 0);
    start(w, &plain_get, true);
    assert_int_equal(w->ready_count, 1);
    assert_true(w->received.len > 0);
}

static void whoever_is_told_that_it_is_ready_may_destroy_it(void **state)
{
    struct world *w = *state;

    w->destroy_on_ready = true;
    join(w, 0);
    turn(w, 2);
    assert_null(w->client);
    assert_int_equal(w->ready_count, 1);
    assert_int_equal(w->closing_count, 0);
}

static void a_client_that_closes_in_its_first_turn_was_never_ready(void **state)
{
    struct world *w = *state;

    join(w, 0);
    http_client_close_gracefully(w->client);
    turn(w, 2);
    assert_int_equal(w->ready_count, 0);
    assert_int_equal(w->closed_count, 1);
}

/* ---- requests ---- */

static void a_request_goes_out_in_one_write(void **state)
{
    struct world *w = *state;
    struct field items[] = {
        { SLICE("cookie"), SLICE("a=1"), FIELD_COOKIE },
        { SLICE("x-thing"), SLICE(" v "), FIELD_OTHER },
        { SLICE("connection"), SLICE("x"), FIELD_CONNECTION },
        { SLICE("te"), SLICE("trailers"), FIELD_TE },
        { SLICE("host"), SLICE("evil"), FIELD_HOST },
        { SLICE("content-length"), SLICE("99"), FIELD_CONTENT_LENGTH },
        { SLICE("cookie"), SLICE("b=2"), FIELD_COOKIE },
    };
    struct head head = plain_get;

    head.method = SLICE("POST");
    head.content_length = 5;
    head.fields = (struct fields){ .items = items, .count = 7 };
    join(w, 0);
    w->exchange = http_client_open(w->client, &head, false, &owner_events, w);
    assert_int_equal(http_client_capacity(w->client), 0);
    exchange_write(w->exchange, SLICE("hello"));
    exchange_end(w->exchange, NULL);
    turn(w, 3);
    assert_received(w, "POST /x?y HTTP/1.1\r\nHost: a.example\r\nCookie: a=1; b=2\r\n"
                       "x-thing: v\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(conn_memory_write_count(w->ours), 1);
    assert_int_equal(w->drained_bytes, 5);
}

static void bodies_of_unknown_length_go_out_in_chunks_with_trailers(void **state)
{
    struct world *w = *state;
    struct head head = plain_get;
    struct field trailer = { .name = SLICE("x-sum"), .value = SLICE("1") };

    head.method = SLICE("POST");
    join(w, 0);
    start(w, &head, false);
    exchange_write(w->exchange, SLICE("hello"));
    exchange_end(w->exchange, &(struct fields){ .items = &trailer, .count = 1 });
    turn(w, 3);
    assert_received(w, "POST /x?y HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n"
                       "\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n");
}

static void a_conn_that_carried_trailers_of_a_request_is_not_used_again(void **state)
{
    struct world *w = *state;
    struct head head = plain_get;
    struct field trailer = { .name = SLICE("x-sum"), .value = SLICE("1") };
    struct fields trailers[] = { { .items = &trailer, .count = 1 }, { .items = NULL } };

    head.method = SLICE("POST");
    for (unsigned i = 0; i < 2; i++) {
        join(w, 0);
        start(w, &head, false);
        exchange_end(w->exchange, &trailers[i]);
        turn(w, 3);
        answer(w, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert_true(w->in_ended_with_head);
        assert_int_equal(w->capacity_count, i);
        assert_int_equal(w->closed_count, 1 - i);
    }
}

static void requests_without_a_body_say_so_where_one_is_expected(void **state)
{
    struct world *w = *state;
    struct head head = plain_get;

    join(w, 0);
    start(w, &head, true);
    assert_received(w, "GET /x?y HTTP/1.1\r\nHost: a.example\r\n\r\n");
    head.method = SLICE("POST");
    join(w, 0);
    start(w, &head, true);
    assert_received(w, "POST /x?y HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n");
}

static void a_request_that_breaks_http_is_reset_and_leaves_no_byte(void **state)
{
    struct world *w = *state;
    struct field bad_value = { .name = SLICE("x"), .value = SLICE("a\r\nb: c") };
    struct field bad_name = { .name = SLICE("x:y"), .value = SLICE("a") };
    struct head heads[7];

    for (size_t i = 0; i < 7; i++)
        heads[i] = plain_get;
    heads[0].method = SLICE("GE T");
    heads[1].target = SLICE("/a b");
    heads[2].target = SLICE("/a\r\nX: y");
    heads[3].authority = SLICE("a\r\nb");
    heads[4].fields = (struct fields){ .items = &bad_value, .count = 1 };
    heads[5].fields = (struct fields){ .items = &bad_name, .count = 1 };
    heads[6].target = SLICE("/\xc3\xa4");
    join(w, 0);
    for (size_t i = 0; i < 7; i++) {
        start(w, &heads[i], true);
        assert_int_equal(w->reset, RESET_PROTOCOL);
        assert_int_equal(w->received.len, 0);
        assert_int_equal(http_client_capacity(w->client), 1);
    }
}

/* ---- responses ---- */

static void responses_of_every_framing_are_read(void **state)
{
    struct world *w = *state;
    static const struct {
        struct slice text;
        unsigned status;
        const char *body, *trailers;
    } cases[] = {
        { SLICE("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), 200, "hello", "" },
        { SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n"
                "0\r\nX-Sum: 1\r\n\r\n"),
          200, "hello", "x-sum=1;" },
        { SLICE("HTTP/1.1 204 No Content\r\n\r\n"), 204, "", "" },
        { SLICE("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), 304, "", "" },
        { SLICE("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 200, "", "" },
        { SLICE("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 404 Not Found\r\n"
                "Content-Length: 2\r\n\r\nno"),
          404, "no", "" },
    };

    for (size_t read_bytes = 0; read_bytes < 4; read_bytes++) {
        join(w, read_bytes);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) { /* on one connection */
            start(w, &plain_get, true);
            answer(w, cases[i].text);
            assert_int_equal(w->status, cases[i].status);
            assert_body(w, cases[i].body);
            assert_true(w->ended != w->in_ended_with_head);
            assert_true(slice_equal(buf_slice(&w->trailers), slice_from_string(cases[i].trailers)));
            assert_true(exchange_is_finished(w->exchange));
            assert_int_equal(w->capacity_count, i + 1);
        }
        assert_true(slice_equal(buf_slice(&w->interims), SLICE("103;")));
        assert_int_equal(w->closing_count, 0);
    }
}

static void a_head_request_has_no_response_body(void **state)
{
    struct world *w = *state;
    struct head head = plain_get;

    head.method = SLICE("HEAD");
    join(w, 0);
    start(w, &head, true);
    answer(w, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"));
    assert_true(w->in_ended_with_head);
    assert_int_equal(w->exchange->response.content_length, 5);
    assert_int_equal(http_client_capacity(w->client), 1);
}

static void a_body_until_close_ends_with_a_clean_close_only(void **state)
{
    struct world *w = *state;

    for (unsigned dirty = 0; dirty < 2; dirty++) {
        join(w, 0);
        start(w, &plain_get, true);
        answer(w, SLICE("HTTP/1.1 200 OK\r\n\r\nhello"));
        assert_body(w, "hello");
        if (dirty)
            conn_memory_break(w->peer);
        else
            conn_shutdown(w->peer);
        turn(w, 4);
        assert_int_equal(w->ended, !dirty);
        assert_int_equal(w->reset, dirty ? RESET_LOST : NOT_YET);
        assert_int_equal(w->closing_count, 1);
        assert_int_equal(w->closed_count, 1);
    }
}

static void a_body_that_is_cut_is_lost(void **state)
{
    struct world *w = *state;
    static const struct slice texts[] = {
        SLICE("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello"),
        SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"),
        SLICE("HTTP/1.1 200 OK\r\nConte"),
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        join(w, 0);
        start(w, &plain_get, true);
        answer(w, texts[i]);
        conn_shutdown(w->peer);
        turn(w, 4);
        assert_int_equal(w->reset, RESET_LOST);
        assert_false(w->ended);
        assert_int_equal(w->closed_count, 1);
    }
}

static void hostile_responses_end_the_connection(void **state)
{
    struct world *w = *state;
    static const struct slice texts[] = {
        SLICE("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        SLICE("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"),
        SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\na"),
        SLICE("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n"),
        SLICE("HTTP/1.1 200 OK\na: b\r\n\r\n"),
        SLICE("HTTP/1.1 20 OK\r\n\r\n"),
        SLICE("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
              "Upgrade: websocket\r\n\r\n"), /* not asked for */
        SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: x\r\n\r\n"),
        SLICE("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
              "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
              "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
              "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
              "HTTP/1.1 100 Continue\r\n\r\n"),
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        join(w, i % 2);
        start(w, &plain_get, true);
        answer(w, texts[i]);
        if (w->reset != RESET_PROTOCOL)
            fail_msg("text %zu: reset %d", i, w->reset);
        assert_int_equal(w->closed_count, 1);
        turn(w, 2);
        assert_true(w->peer_ended);
    }
}

static void a_head_that_does_not_end_is_cut_off(void **state)
{
    struct world *w = *state;

    join(w, 0);
    start(w, &plain_get, true);
    answer(w, SLICE("HTTP/1.1 200 OK\r\n"));
    for (unsigned i = 0; i < 3000 && w->reset == NOT_YET; i++) {
        struct slice line = SLICE("x-aaaaaaaaaa: aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
        size_t count;
        assert_int_equal(conn_write(w->peer, &line, 1, &count), STATUS_OK);
        turn(w, 2);
    }
    assert_int_equal(w->reset, RESET_PROTOCOL);
}

static void bytes_after_a_response_make_the_connection_unfit(void **state)
{
    struct world *w = *state;

    join(w, 0);
    start(w, &plain_get, true);
    answer(w, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n\r\n"));
    assert_body(w, "a");
    assert_int_equal(w->in_ended_with_head || w->ended, true);
    assert_int_equal(w->closed_count, 1);
    assert_int_equal(w->capacity_count, 0);

    join(w, 0); /* later, on the idle connection */
    start(w, &plain_get, true);
    answer(w, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"));
    assert_int_equal(w->capacity_count, 1);
    answer(w, SLICE("x"));
    assert_int_equal(w->closing_count, 1);
    assert_int_equal(w->closed_count, 1);
}

static void a_peer_that_says_close_is_not_used_again(void **state)
{
    struct world *w = *state;
    static const struct slice texts[] = {
        SLICE("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\na"),
        SLICE("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na"),
    };

    for (size_t i = 0; i < 2; i++) {
        join(w, 0);
        start(w, &plain_get, true);
        answer(w, texts[i]);
        assert_true(exchange_is_finished(w->exchange));
        assert_int_equal(w->closed_count, 1);
    }
}

static void an_answer_before_the_end_of_the_request_waits_for_it(void **state)
{
    struct world *w = *state;
    struct head head = plain_get;

    head.method = SLICE("POST");
    head.content_length = 6;
    for (unsigned finish = 0; finish < 2; finish++) {
        join(w, 0);
        start(w, &head, false);
        exchange_write(w->exchange, SLICE("abc"));
        turn(w, 2);
        answer(w, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        assert_true(w->ended);
        assert_int_equal(http_client_capacity(w->client), 0);
        if (finish) {
            exchange_write(w->exchange, SLICE("def"));
            exchange_end(w->exchange, NULL);
            turn(w, 3);
            assert_int_equal(http_client_capacity(w->client), 1);
        } else {
            exchange_release(&w->exchange); /* unsent bytes: the connection is unfit */
            turn(w, 3);
            assert_int_equal(w->closed_count, 1);
        }
    }
}

static void responses_flow_while_the_request_does(void **state)
{
    struct world *w = *state;
    struct head head = plain_get;

    head.method = SLICE("POST");
    join(w, 0);
    start(w, &head, false);
    answer(w, SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nA\r\n"));
    exchange_write(w->exchange, SLICE("a"));
    turn(w, 2);
    answer(w, SLICE("1\r\nB\r\n0\r\n\r\n"));
    exchange_end(w->exchange, NULL);
    turn(w, 3);
    assert_body(w, "AB");
    assert_int_equal(w->capacity_count, 1);
}

/* ---- tunnels ---- */

static const struct head websocket = {
    .method = { "GET", 3 },
    .scheme = { "http", 4 },
    .authority = { "a.example", 9 },
    .target = { "/ws", 3 },
    .protocol = { "websocket", 9 },
    .content_length = CONTENT_LENGTH_UNKNOWN,
};

static void a_101_makes_a_tunnel_that_is_never_used_again(void **state)
{
    struct world *w = *state;

    join(w, 0);
    start(w, &websocket, false);
    assert_received(w, "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n"
                       "Upgrade: websocket\r\n\r\n");
    exchange_write(w->exchange, SLICE("held"));
    turn(w, 3);
    assert_int_equal(w->drained_bytes, 0); /* not before the 101 */
    buf_deinit(&w->received);
    answer(w, SLICE("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                    "Upgrade: WebSocket\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"));
    assert_int_equal(w->status, 101);
    assert_body(w, "HTTP/1.1 200 OK\r\n\r\n");
    assert_received(w, "held");
    exchange_end(w->exchange, NULL);
    turn(w, 3);
    assert_true(w->peer_ended);
    assert_false(w->ended);
    conn_shutdown(w->peer);
    turn(w, 4);
    assert_true(w->ended && exchange_is_finished(w->exchange));
    assert_int_equal(w->capacity_count, 0);
    assert_int_equal(w->closed_count, 1);
}

static void any_other_answer_to_an_upgrade_stays_http(void **state)
{
    struct world *w = *state;

    join(w, 0);
    start(w, &websocket, false);
    exchange_write(w->exchange, SLICE("held"));
    answer(w, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    assert_body(w, "ok");
    exchange_end(w->exchange, NULL);
    turn(w, 3);
    assert_true(exchange_is_finished(w->exchange));
    assert_null(w->received.len > 0
                    ? memmem(buf_slice(&w->received).ptr, w->received.len, "held", 4)
                    : NULL);
    assert_int_equal(w->closed_count, 1);

    join(w, 0); /* 101 without its fields */
    start(w, &websocket, false);
    answer(w, SLICE("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
    assert_int_equal(w->reset, RESET_PROTOCOL);
}

static void connect_opens_a_tunnel_with_2xx(void **state)
{
    struct world *w = *state;
    struct head head = { .method = SLICE("CONNECT"),
                         .authority = SLICE("127.0.0.1:80"),
                         .content_length = CONTENT_LENGTH_UNKNOWN };

    join(w, 0);
    start(w, &head, false);
    assert_received(w, "CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n");
    answer(w, SLICE("HTTP/1.1 200 OK\r\n\r\nraw"));
    assert_body(w, "raw");
}

/* ---- pressure ---- */

static void at_most_one_window_is_delivered_unconsumed(void **state)
{
    struct world *w = *state;
    static char bytes[200000];
    size_t sent = 0;

    w->keeps = true;
    w->limits.window_bytes = 10000;
    join(w, 0);
    start(w, &plain_get, true);
    answer(w, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n"));
    for (unsigned i = 0; i < 100; i++) {
        struct slice rest = slice_of(bytes + sent, sizeof(bytes) - sent);
        size_t count = 0;
        if (conn_write(w->peer, &rest, 1, &count) == STATUS_OK)
            sent += count;
        turn(w, 1);
    }
    assert_int_equal(w->body.len, 10000);
    assert_true(sent < 80000);
    while (!w->ended) {
        struct slice rest = slice_of(bytes + sent, sizeof(bytes) - sent);
        size_t count = 0, before = w->body.len;
        exchange_consumed(w->exchange, 10000);
        if (rest.len > 0 && conn_write(w->peer, &rest, 1, &count) == STATUS_OK)
            sent += count;
        turn(w, 6);
        assert_true(w->body.len > before);
    }
    assert_int_equal(w->body.len, sizeof(bytes));
}

static void chunk_lines_do_not_stall_a_small_window(void **state)
{
    struct world *w = *state;

    w->keeps = true;
    w->limits.window_bytes = 2;
    join(w, 0);
    start(w, &plain_get, true);
    answer(w, SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "0000000A\r\n0123456789\r\n00000\r\n\r\n"));
    for (unsigned i = 0; i < 20 && !w->ended; i++) {
        size_t held = w->body.len;
        assert_true(held <= 2);
        buf_deinit(&w->body);
        exchange_consumed(w->exchange, held);
        turn(w, 1);
    }
    assert_true(w->ended);
    assert_int_equal(w->capacity_count, 1);
}

static void the_end_waits_until_the_window_let_the_body_through(void **state)
{
    struct world *w = *state;

    w->keeps = true;
    w->limits.window_bytes = 3;
    join(w, 0);
    start(w, &plain_get, true);
    answer(w, SLICE("HTTP/1.1 200 OK\r\n\r\nhello"));
    conn_shutdown(w->peer);
    turn(w, 4);
    assert_body(w, "hel");
    assert_false(w->ended);
    exchange_consumed(w->exchange, 3);
    turn(w, 4);
    assert_body(w, "hello");
    assert_true(w->ended);
}

static void a_peer_that_does_not_read_holds_the_owner_back_and_is_cut(void **state)
{
    struct world *w = *state;
    static char bytes[200000];
    struct head head = plain_get;

    head.method = SLICE("POST");
    w->limits.write_stall_ms = 40;
    join(w, 0);
    conn_want_read(w->peer, false);
    start(w, &head, false);
    exchange_write(w->exchange, slice_of(bytes, sizeof(bytes)));
    turn(w, 5);
    assert_true(w->drained_bytes > 0 && w->drained_bytes < 70000);
    for (unsigned i = 0; i < 200 && w->reset == NOT_YET; i++)
        loop_turn(w->loop, 5);
    assert_int_equal(w->reset, RESET_LOST);
    turn(w, 2);
    assert_int_equal(w->closed_count, 1);
}

/* ---- ends ---- */

static void a_loss_before_anything_was_sent_is_refused(void **state)
{
    struct world *w = *state;

    join(w, 0);
    start(w, &plain_get, true);
    answer(w, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"));
    forget_exchange(w);
    conn_destroy(&w->peer); /* as a server closes an idle connection, just as we use it again */
    w->exchange = http_client_open(w->client, &plain_get, true, &owner_events, w);
    turn(w, 4);
    assert_int_equal(w->reset, RESET_REFUSED);

    join(w, 0);
    start(w, &plain_get, true); /* sent */
    conn_shutdown(w->peer);
    turn(w, 4);
    assert_int_equal(w->reset, RESET_LOST);
}

static void an_idle_connection_that_ends_is_noticed(void **state)
{
    struct world *w = *state;

    w->destroy_on_closed = true;
    join(w, 0);
    conn_shutdown(w->peer);
    turn(w, 4);
    assert_int_equal(w->closing_count, 1);
    assert_int_equal(w->closed_count, 1);
    assert_null(w->client);
}

static void closing_gracefully_lets_the_open_exchange_finish(void **state)
{
    struct world *w = *state;

    w->destroy_on_closed = true;
    join(w, 0);
    start(w, &plain_get, true);
    http_client_close_gracefully(w->client);
    assert_int_equal(http_client_capacity(w->client), 0);
    turn(w, 2);
    assert_int_equal(w->closing_count, 1);
    assert_int_equal(w->closed_count, 0);
    answer(w, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"));
    assert_body(w, "a");
    assert_null(w->client);

    w->destroy_on_closed = false;
    join(w, 0);
    http_client_close_gracefully(w->client);
    turn(w, 2);
    assert_int_equal(w->closed_count, 1);
}

static void resetting_or_releasing_early_closes_the_connection(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < 3; i++) {
        join(w, 0);
        start(w, &plain_get, true);
        if (i > 0)
            answer(w, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"));
        if (i == 2)
            exchange_release(&w->exchange);
        else
            exchange_reset(w->exchange, RESET_CANCEL);
        turn(w, 4);
        assert_int_equal(w->reset, NOT_YET);
        assert_int_equal(w->closed_count, 1);
        assert_true(w->peer_ended);
    }
}

static void destroying_the_client_resets_the_exchange(void **state)
{
    struct world *w = *state;

    join(w, 0);
    start(w, &plain_get, true);
    http_client_destroy(&w->client);
    assert_int_equal(w->reset, RESET_LOST);
    http_client_destroy(&w->client);
}

static void a_length_that_is_not_kept_cuts_the_request(void **state)
{
    struct world *w = *state;
    struct head head = plain_get;

    head.method = SLICE("POST");
    head.content_length = 3;
    for (unsigned i = 0; i < 2; i++) {
        join(w, 0);
        start(w, &head, false);
        exchange_write(w->exchange, i == 0 ? SLICE("abcd") : SLICE("ab"));
        exchange_end(w->exchange, NULL);
        turn(w, 4);
        assert_int_equal(w->reset, RESET_INTERNAL);
        assert_int_equal(w->closed_count, 1);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_client_is_ready_once_on_a_later_turn),
        T(a_request_of_the_first_turn_goes_out_all_the_same),
        T(whoever_is_told_that_it_is_ready_may_destroy_it),
        T(a_client_that_closes_in_its_first_turn_was_never_ready),
        T(a_request_goes_out_in_one_write),
        T(bodies_of_unknown_length_go_out_in_chunks_with_trailers),
        T(a_conn_that_carried_trailers_of_a_request_is_not_used_again),
        T(requests_without_a_body_say_so_where_one_is_expected),
        T(a_request_that_breaks_http_is_reset_and_leaves_no_byte),
        T(responses_of_every_framing_are_read),
        T(a_head_request_has_no_response_body),
        T(a_body_until_close_ends_with_a_clean_close_only),
        T(a_body_that_is_cut_is_lost),
        T(hostile_responses_end_the_connection),
        T(a_head_that_does_not_end_is_cut_off),
        T(bytes_after_a_response_make_the_connection_unfit),
        T(a_peer_that_says_close_is_not_used_again),
        T(an_answer_before_the_end_of_the_request_waits_for_it),
        T(responses_flow_while_the_request_does),
        T(a_101_makes_a_tunnel_that_is_never_used_again),
        T(any_other_answer_to_an_upgrade_stays_http),
        T(connect_opens_a_tunnel_with_2xx),
        T(at_most_one_window_is_delivered_unconsumed),
        T(chunk_lines_do_not_stall_a_small_window),
        T(the_end_waits_until_the_window_let_the_body_through),
        T(a_peer_that_does_not_read_holds_the_owner_back_and_is_cut),
        T(a_loss_before_anything_was_sent_is_refused),
        T(an_idle_connection_that_ends_is_noticed),
        T(closing_gracefully_lets_the_open_exchange_finish),
        T(resetting_or_releasing_early_closes_the_connection),
        T(destroying_the_client_resets_the_exchange),
        T(a_length_that_is_not_kept_cuts_the_request),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
