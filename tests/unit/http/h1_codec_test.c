/* h1_codec_test.c — the server side of HTTP/1.1: framing, keep-alive, pressure, refusals, life and
 * death. */
#include "h1_fixture.h"

#include <stdio.h>

#define HOST "Host: a.example\r\n"
#define GET_ROOT "GET / HTTP/1.1\r\n" HOST "\r\n"

static const struct conn_memory_options bytewise = { .read_bytes = 1 };

static void assert_body(struct app_request *request, const char *text)
{
    if (!slice_equal(buf_slice(&request->body), slice_from_string(text)))
        fail_msg("body: %.*s", SLICE_ARGS(buf_slice(&request->body)));
}

/* ---- the ordinary ---- */

static void a_request_is_answered_in_one_write(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE("GET /x?y HTTP/1.1\r\n" HOST "X-A: 1\r\n\r\n"));
    struct app_request *request = app_request(app, 0);
    assert_true(request->in_ended_with_head);
    assert_true(slice_equal(request->exchange->request.target, SLICE("/x?y")));
    assert_int_equal(request->exchange->link->version, HTTP_1_1);

    app_reply(request, 200, "hello");
    app_turn(app, 2);
    assert_true(app_received(app, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
    assert_int_equal(conn_memory_write_count(app->server_end), 1);
    assert_int_equal(request->drained_bytes, 5);
    assert_true(exchange_is_finished(request->exchange));
    app_release(request);
}

static void a_connection_serves_many_requests(void **state)
{
    struct app *app = *state;

    app->auto_reply = true;
    for (unsigned pass = 0; pass < 2; pass++) {
        app_connect(app, pass == 0 ? NULL : &bytewise);
        for (unsigned i = 0; i < 100; i++) {
            app_clear(app);
            app_send(app, i % 2 == 0
                              ? SLICE(GET_ROOT)
                              : SLICE("POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"));
            assert_true(app_received(app, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        }
    }
    assert_int_equal(app->request_count, 200);
    assert_int_equal(counter_read(&http_server_counters(app->server)->h1_requests), 200);
}

static void pipelined_requests_are_served_one_after_the_other(void **state)
{
    struct app *app = *state;

    for (unsigned pass = 0; pass < 2; pass++) {
        app_restart(app);
        app_connect(app, pass == 0 ? NULL : &bytewise);
        app_send(app, SLICE("POST /1 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                            "1\r\na\r\n0\r\n\r\n\r\nGET /2 HTTP/1.1\r\n" HOST "\r\n"
                            "GET /3 HTTP/1.1\r\n" HOST "\r\n"));
        assert_int_equal(app->request_count, 1);
        assert_body(app_request(app, 0), "a");
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(app->request_count, i + 1);
            app_reply(app_request(app, i), 200, "x");
            app_release(app_request(app, i));
            app_turn(app, 200);
        }
        assert_true(app_received(app, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
                                      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
                                      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"));
        assert_true(slice_equal(buf_slice(&app_request(app, 0)->body), SLICE("a")));
    }
}

static void chunks_and_trailers_come_in_however_they_are_cut(void **state)
{
    struct app *app = *state;
    struct slice text = SLICE("PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"
                              "3\r\nabc\r\nA;x=\"y\"\r\ndefghijklm\r\n0\r\nX-Sum: 1\r\n\r\n");

    for (size_t read_bytes = 0; read_bytes < 8; read_bytes++) {
        app_restart(app);
        app_connect(app, &(struct conn_memory_options){ .read_bytes = read_bytes });
        app_send(app, text);
        struct app_request *request = app_request(app, 0);
        assert_body(request, "abcdefghijklm");
        assert_true(request->ended);
        assert_true(slice_equal(buf_slice(&request->trailers), SLICE("x-sum=1;")));
        app_reply(request, 204, "");
        app_turn(app, 3);
        assert_true(app_received(app, "HTTP/1.1 204 No Content\r\n\r\n"));
        app_release(request);
    }
}

static void chunks_and_trailers_go_out(void **state)
{
    struct app *app = *state;
    struct field trailer = { .name = SLICE("grpc-status"), .value = SLICE("0") };
    struct fields trailers = { .items = &trailer, .count = 1 };

    for (size_t write_bytes = 0; write_bytes < 4; write_bytes++) {
        app_restart(app);
        app_connect(app, &(struct conn_memory_options){ .write_bytes = write_bytes });
        app_send(app, SLICE(GET_ROOT));
        struct exchange *exchange = app_request(app, 0)->exchange;
        exchange_send_head(
            exchange, &(struct head){ .status = 200, .content_length = CONTENT_LENGTH_UNKNOWN },
            false);
        exchange_write(exchange, SLICE("0123456789"));
        exchange_write(exchange, SLICE("abcdef"));
        app_turn(app, 100);
        exchange_write(exchange, SLICE("x"));
        exchange_end(exchange, &trailers);
        app_turn(app, 100);
        assert_true(app_received(app, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                      "10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\n"
                                      "grpc-status: 0\r\n\r\n"));
        assert_int_equal(app_request(app, 0)->drained_bytes, 17);
        app_release(app_request(app, 0));
        app_clear(app);
        app_send(app, SLICE(GET_ROOT)); /* still in step */
        assert_int_equal(app->request_count, 2);
    }
}

static void a_response_may_start_and_flow_before_the_request_ends(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"));
    struct app_request *request = app_request(app, 0);
    exchange_send_head(request->exchange,
                       &(struct head){ .status = 200, .content_length = CONTENT_LENGTH_UNKNOWN },
                       false);
    exchange_write(request->exchange, SLICE("A"));
    app_turn(app, 2);
    assert_true(app_received(app, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                                  "Connection: close\r\n\r\n1\r\nA\r\n"));
    app_send(app, SLICE("1\r\nb\r\n0\r\n\r\n"));
    assert_body(request, "ab");
    assert_true(request->ended);
    exchange_write(request->exchange, SLICE("B"));
    exchange_end(request->exchange, NULL);
    app_turn(app, 3);
    assert_true(app_contains(app, "1\r\nB\r\n0\r\n\r\n"));
    assert_true(app_client_is_closed(app));
    app_release(request);
}

/* ---- framing of responses ---- */

static void responses_without_a_body_have_none(void **state)
{
    struct app *app = *state;
    static const struct {
        struct slice request;
        unsigned status;
        int64_t length;
        const char *wire;
    } cases[] = {
        { SLICE("HEAD / HTTP/1.1\r\n" HOST "\r\n"), 200, 10,
          "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" },
        { SLICE("HEAD / HTTP/1.1\r\n" HOST "\r\n"), 200, CONTENT_LENGTH_UNKNOWN,
          "HTTP/1.1 200 OK\r\n\r\n" },
        { SLICE(GET_ROOT), 304, 10, "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n" },
        { SLICE(GET_ROOT), 204, CONTENT_LENGTH_UNKNOWN, "HTTP/1.1 204 No Content\r\n\r\n" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        app_restart(app);
        app_connect(app, NULL);
        app_send(app, cases[i].request);
        struct app_request *request = app_request(app, 0);
        exchange_send_head(
            request->exchange,
            &(struct head){ .status = cases[i].status, .content_length = cases[i].length }, false);
        exchange_write(request->exchange, SLICE("0123456789"));
        exchange_end(request->exchange, NULL);
        app_turn(app, 3);
        assert_true(app_received(app, cases[i].wire));
        assert_int_equal(request->drained_bytes, 10);
        app_clear(app);
        app_send(app, SLICE(GET_ROOT));
        assert_int_equal(app->request_count, 2);
    }
}

static void http_1_0_gets_no_chunks_and_is_kept_alive_when_it_asks(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE("GET / HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n"));
    exchange_send_interim(app_request(app, 0)->exchange, &(struct head){ .status = 103 });
    app_reply(app_request(app, 0), 200, "ok");
    app_turn(app, 2);
    assert_true(app_received(
        app, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"));
    app_clear(app);
    app_send(app, SLICE("GET / HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n"));
    struct app_request *request = app_request(app, 1);
    exchange_send_head(request->exchange,
                       &(struct head){ .status = 200, .content_length = CONTENT_LENGTH_UNKNOWN },
                       false);
    exchange_write(request->exchange, SLICE("abc"));
    exchange_end(request->exchange, NULL);
    app_turn(app, 3);
    assert_true(app_received(app, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"));
    assert_true(app_client_is_closed(app));
    assert_int_equal(app->client_end, STATUS_CLOSED);

    app_connect(app, NULL);
    app_send(app, SLICE("GET / HTTP/1.0\r\n" HOST "\r\n"));
    app_reply(app_request(app, 2), 200, "ok");
    app_turn(app, 3);
    assert_true(app_contains(app, "Connection: close\r\n"));
    assert_true(app_client_is_closed(app));
}

static void connection_close_and_the_request_limit_end_keep_alive(void **state)
{
    struct app *app = *state;

    app->auto_reply = true;
    app_connect(app, NULL);
    app_send(app, SLICE("GET / HTTP/1.1\r\n" HOST "Connection: Close\r\n\r\n" GET_ROOT));
    assert_true(
        app_received(app, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"));
    assert_true(app_client_is_closed(app));
    assert_int_equal(app->request_count, 1);

    app->limits.keepalive_requests = 2;
    app_connect(app, NULL);
    app_send(app, SLICE(GET_ROOT GET_ROOT GET_ROOT));
    assert_int_equal(app->request_count, 3);
    assert_true(app_client_is_closed(app));
    assert_true(app_contains(app, "Connection: close"));
}

static void the_writer_checks_what_the_owner_says(void **state)
{
    struct app *app = *state;
    struct field field = { .name = SLICE("x-a"), .value = SLICE("1\r\nX-B: 2") };
    struct field name = { .name = SLICE("x a"), .value = SLICE("1") };
    const struct {
        struct head head;
        const char *body;
    } cases[] = {
        { { .status = 200, .fields = { .items = &field, .count = 1 } }, "" },
        { { .status = 200, .fields = { .items = &name, .count = 1 } }, "" },
        { { .status = 99 }, "" },
        { { .status = 600 }, "" },
        { { .status = 101 }, "" },
        { { .status = 200, .content_length = 3 }, "abcd" },
        { { .status = 200, .content_length = 3 }, "ab" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        app_restart(app);
        app_connect(app, NULL);
        app_send(app, SLICE(GET_ROOT));
        struct app_request *request = app_request(app, 0);
        exchange_send_head(request->exchange, &cases[i].head, false);
        exchange_write(request->exchange, slice_from_string(cases[i].body));
        exchange_end(request->exchange, NULL);
        app_turn(app, 4);
        assert_int_equal(request->reset, RESET_INTERNAL);
        assert_true(app_client_is_closed(app));
        assert_false(app_contains(app, "X-B") || app_contains(app, "abcd"));
    }
}

static void hop_by_hop_fields_of_the_owner_stay_behind(void **state)
{
    struct app *app = *state;
    struct field items[] = {
        { SLICE("connection"), SLICE("x"), FIELD_CONNECTION },
        { SLICE("transfer-encoding"), SLICE("gzip"), FIELD_TRANSFER_ENCODING },
        { SLICE("content-length"), SLICE("77"), FIELD_CONTENT_LENGTH },
        { SLICE("upgrade"), SLICE("h2c"), FIELD_UPGRADE },
        { SLICE("set-cookie"), SLICE("a=1"), FIELD_SET_COOKIE },
        { SLICE("set-cookie"), SLICE("b=2"), FIELD_SET_COOKIE },
        { SLICE("x-empty"), SLICE(""), FIELD_OTHER },
    };

    app_connect(app, NULL);
    app_send(app, SLICE(GET_ROOT));
    exchange_send_head(app_request(app, 0)->exchange,
                       &(struct head){ .status = 200,
                                       .content_length = CONTENT_LENGTH_UNKNOWN,
                                       .fields = { .items = items, .count = 7 } },
                       true);
    app_turn(app, 2);
    assert_true(app_received(app, "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
                                  "x-empty: \r\nContent-Length: 0\r\n\r\n"));
}

/* ---- refusals ---- */

struct refusal {
    struct slice text;
    unsigned status;
};

static const struct refusal refusals[] = {
    { SLICE("POST / HTTP/1.1\r\n" HOST
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET_ROOT),
      400 },
    { SLICE("POST / HTTP/1.1\r\n" HOST "Content-Length: 4\r\nContent-Length: 0\r\n\r\n" GET_ROOT),
      400 },
    { SLICE("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n" GET_ROOT), 501 },
    { SLICE("POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET_ROOT),
      400 },
    { SLICE("GET / HTTP/1.1\n" HOST "\r\n"), 400 },
    { SLICE("GET / HTTP/1.1\r\nHost: a\n\r\n"), 400 },
    { SLICE("GET / HTTP/1.1\r\n" HOST "a: b\r\n c\r\n\r\n"), 400 },
    { SLICE("GET / HTTP/1.1\r\n" HOST "a : b\r\n\r\n"), 400 },
    { SLICE("GET / HTTP/1.1\r\n\r\n"), 400 },
    { SLICE("GET / HTTP/1.1\r\n" HOST "Host: b\r\n\r\n"), 400 },
    { SLICE("GET http://b/ HTTP/1.1\r\n" HOST "\r\n"), 400 },
    { SLICE("GET /\r\n"), 400 },
    { SLICE("\r\n\r\n" GET_ROOT), 400 },
    { SLICE("GET / HTTP/3.0\r\n"), 505 },
    { SLICE("TRACE / HTTP/1.1\r\n"), 405 },
    { SLICE("CONNECT a:1 HTTP/1.1\r\n"), 501 },
    { SLICE("POST / HTTP/1.1\r\n" HOST "Expect: x\r\n\r\n"), 417 },
    { SLICE("GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), 501 },
    { SLICE("PRI * HTTP/1.1\r\n" HOST "\r\n"), 400 },
    { SLICE("\x16\x03\x01\x02\x00\x01\n"), 400 },
};

static void what_could_smuggle_is_refused_and_the_connection_closed(void **state)
{
    struct app *app = *state;

    for (unsigned pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
            char start[32];

            app_connect(app, pass == 0 ? NULL : &bytewise);
            app_send(app, refusals[i].text);
            snprintf(start, sizeof(start), "HTTP/1.1 %u ", refusals[i].status);
            if (!app_starts(app, start))
                fail_msg("refusal %zu, pass %u", i, pass);
            assert_int_equal(app->refused_status, refusals[i].status);
            assert_true(app_contains(app, "Connection: close\r\n"));
            assert_true(app_client_is_closed(app));
            assert_int_equal(app->request_count, 0);
        }
    }
    assert_int_equal(counter_read(&http_server_counters(app->server)->refused_requests),
                     2 * sizeof(refusals) / sizeof(refusals[0]));
    app_turn(app, 2);
    assert_int_equal(http_server_conn_count(app->server), 0);
}

static void a_head_without_end_is_refused_at_its_limit(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE("GET /"));
    for (unsigned i = 0; i < 100 && !app->client_ended; i++)
        app_send(app,
                 SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
    assert_true(app_starts(app, "HTTP/1.1 414 "));

    app_connect(app, NULL);
    app_send(app, SLICE("GET / HTTP/1.1\r\n" HOST));
    for (unsigned i = 0; i < 1000 && !app->client_ended; i++)
        app_send(app,
                 SLICE("x-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"));
    assert_true(app_starts(app, "HTTP/1.1 431 "));
    assert_true(app->client_ended);
    assert_int_equal(app->request_count, 0);
}

static void a_bad_chunk_resets_the_owner_and_answers_400(void **state)
{
    struct app *app = *state;
    static const struct slice bodies[] = {
        SLICE("x\r\n"),
        SLICE("1\na"),
        SLICE("1;a=\"\r\n\"\r\n"),
        SLICE("10000000000000000\r\n"),
        SLICE("0\r\na : b\r\n\r\n"),
        SLICE("0\r\nContent-Length: 3\r\n\r\n"),
    };

    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        app_restart(app);
        app_connect(app, i % 2 == 0 ? NULL : &bytewise);
        app_send(app, SLICE("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                            "1\r\na\r\n"));
        app_send(app, bodies[i]);
        assert_body(app_request(app, 0), "a");
        assert_int_equal(app_request(app, 0)->reset, RESET_PROTOCOL);
        assert_true(app_starts(app, "HTTP/1.1 400 "));
        assert_true(app_client_is_closed(app));
        assert_int_equal(app->request_count, 1);
    }
}

static void a_bad_chunk_after_the_response_began_cuts_it(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"));
    exchange_send_head(app_request(app, 0)->exchange,
                       &(struct head){ .status = 200, .content_length = CONTENT_LENGTH_UNKNOWN },
                       false);
    app_turn(app, 2);
    app_send(app, SLICE("zz\r\n"));
    assert_int_equal(app_request(app, 0)->reset, RESET_PROTOCOL);
    assert_true(app_client_is_closed(app));
    assert_false(app_contains(app, "400"));
    assert_false(app_contains(app, "0\r\n\r\n"));
}

static void without_a_refuse_function_the_body_is_empty(void **state)
{
    struct app *app = *state;

    app->options.refuse = NULL;
    app_restart(app);
    app_connect(app, NULL);
    app_send(app, SLICE("GET / HTTP/1.1\r\n\r\n"));
    assert_true(app_received(
        app, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
}

static void one_blank_line_before_a_request_is_forgiven(void **state)
{
    struct app *app = *state;

    app->auto_reply = true;
    app_connect(app, &bytewise);
    app_send(app, SLICE("\r\n" GET_ROOT "\r\n" GET_ROOT));
    assert_int_equal(app->request_count, 2);
}

/* ---- early answers, expectations ---- */

static void an_early_answer_closes_after_it_was_read(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE("POST / HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\nabc"));
    struct app_request *request = app_request(app, 0);
    app_reply(request, 413, "too much");
    app_release(request);
    app_turn(app, 3);
    assert_true(app_received(app, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n"
                                  "Connection: close\r\n\r\ntoo much"));
    assert_int_equal(app->closed_count, 1); /* it lingers by itself */
    app_send(app, SLICE("def" GET_ROOT));
    assert_int_equal(app->request_count, 1);
    assert_int_equal(app->client_end, STATUS_CLOSED);
}

static void a_response_that_is_complete_may_wait_for_the_request(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE("POST / HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\nabc"));
    struct app_request *request = app_request(app, 0);
    app_reply(request, 200, "ok");
    app_turn(app, 3);
    assert_false(app_client_is_closed(app));
    app_send(app, SLICE("def"));
    assert_body(request, "abcdef");
    assert_true(request->ended && exchange_is_finished(request->exchange));
    assert_true(app_client_is_closed(app));
}

static void a_reset_without_error_after_the_response_closes_politely(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE("POST / HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\nabc"));
    struct app_request *request = app_request(app, 0);
    app_reply(request, 200, "ok");
    exchange_reset(request->exchange, RESET_NO_ERROR);
    app_turn(app, 3);
    assert_true(app_contains(app, "\r\n\r\nok"));
    assert_int_equal(app->client_end, STATUS_CLOSED);
    assert_int_equal(request->reset, NO_RESET);
}

#define EXPECTING "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"

static bool has_continue(const struct app *app)
{
    return app_contains(app, "HTTP/1.1 100 Continue\r\n\r\n");
}

static void the_owner_passes_100_on(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE(EXPECTING));
    struct app_request *request = app_request(app, 0);
    assert_true(slice_equal(fields_value(&request->exchange->request.fields, FIELD_EXPECT),
                            SLICE("100-continue")));
    assert_int_equal(app->received.len, 0);
    exchange_send_interim(request->exchange, &(struct head){ .status = 100 });
    exchange_send_interim(request->exchange, &(struct head){ .status = 100 });
    exchange_consumed(request->exchange, 0);
    app_turn(app, 2);
    assert_true(app_received(app, "HTTP/1.1 100 Continue\r\n\r\n"));
    app_send(app, SLICE("abc"));
    assert_body(request, "abc");
    app_clear(app);
    app_reply(request, 200, "ok");
    app_turn(app, 2);
    assert_true(app_received(app, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
}

static void asking_for_the_body_says_100(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE(EXPECTING));
    exchange_consumed(app_request(app, 0)->exchange, 0);
    app_turn(app, 2);
    assert_true(app_received(app, "HTTP/1.1 100 Continue\r\n\r\n"));
}

static void an_owner_that_says_nothing_gets_the_body_after_a_second(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE(EXPECTING));
    assert_false(app_wait(app, 500, has_continue));
    assert_true(app_wait(app, 2000, has_continue));
}

static void a_refused_expectation_closes_without_100(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE(EXPECTING));
    app_reply(app_request(app, 0), 401, "no");
    app_release(app_request(app, 0));
    app_turn(app, 3);
    assert_true(app_starts(app, "HTTP/1.1 401 "));
    assert_true(app_client_is_closed(app));
}

static void early_hints_go_out_before_the_head(void **state)
{
    struct app *app = *state;
    struct field link = { .name = SLICE("link"), .value = SLICE("</a>") };

    app_connect(app, NULL);
    app_send(app, SLICE(GET_ROOT));
    struct app_request *request = app_request(app, 0);
    exchange_send_interim(
        request->exchange,
        &(struct head){ .status = 103, .fields = { .items = &link, .count = 1 } });
    app_reply(request, 200, "ok");
    app_turn(app, 2);
    assert_true(app_received(app, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
                                  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
}

/* ---- tunnels ---- */

#define WEBSOCKET                                                                                  \
    "GET /ws HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n"                    \
    "Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\r\n"

static void an_upgrade_becomes_a_tunnel_after_101_only(void **state)
{
    struct app *app = *state;
    struct field accept = { SLICE("sec-websocket-accept"), SLICE("k"), FIELD_SEC_WEBSOCKET_ACCEPT };

    for (unsigned pass = 0; pass < 2; pass++) {
        app_restart(app);
        app_connect(app, pass == 0 ? NULL : &bytewise);
        app_send(app, SLICE(WEBSOCKET "early"));
        struct app_request *request = app_request(app, 0);
        assert_true(request->exchange->can_tunnel);
        assert_true(slice_equal(request->exchange->request.protocol, SLICE("websocket")));
        assert_false(request->in_ended_with_head);
        assert_int_equal(request->body.len, 0);
        exchange_send_head(request->exchange,
                           &(struct head){ .status = 101,
                                           .content_length = CONTENT_LENGTH_UNKNOWN,
                                           .fields = { .items = &accept, .count = 1 } },
                           false);
        exchange_write(request->exchange, SLICE("raw"));
        app_turn(app, 20);
        assert_true(app_received(app, "HTTP/1.1 101 Switching Protocols\r\n"
                                      "Sec-WebSocket-Accept: k\r\nConnection: Upgrade\r\n"
                                      "Upgrade: websocket\r\n\r\nraw"));
        app_send(app, SLICE(GET_ROOT));
        assert_body(request, "early" GET_ROOT);
        assert_int_equal(app->request_count, 1);

        conn_shutdown(app->client); /* half-close passes through */
        app_turn(app, 4);
        assert_true(request->ended);
        exchange_write(request->exchange, SLICE("last"));
        exchange_end(request->exchange, NULL);
        app_turn(app, 4);
        assert_true(app_contains(app, "rawlast"));
        assert_int_equal(app->client_end, STATUS_CLOSED);
        app_release(request);
    }
}

static void a_tunnel_ends_on_our_side_first_too(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE(WEBSOCKET));
    struct app_request *request = app_request(app, 0);
    exchange_send_head(request->exchange, &(struct head){ .status = 101 }, false);
    exchange_end(request->exchange, NULL);
    app_turn(app, 4);
    assert_int_equal(app->client_end, STATUS_CLOSED); /* our FIN */
    app_send(app, SLICE("more"));
    assert_body(request, "more");
    assert_int_equal(app->closed_count, 0);
    conn_shutdown(app->client);
    app_turn(app, 4);
    assert_true(request->ended && exchange_is_finished(request->exchange));
    assert_int_equal(app->closed_count, 1);
}

static void an_upgrade_that_is_declined_stays_http_and_closes(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE(WEBSOCKET "GET /smuggled HTTP/1.1\r\n" HOST "\r\n"));
    struct app_request *request = app_request(app, 0);
    app_reply(request, 200, "plain");
    app_turn(app, 4);
    assert_true(request->ended);
    assert_int_equal(request->body.len, 0);
    assert_true(app_received(app, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
                                  "Connection: close\r\n\r\nplain"));
    assert_true(app_client_is_closed(app));
    assert_int_equal(app->request_count, 1);
}

static void connect_is_a_tunnel_where_the_server_allows_it(void **state)
{
    struct app *app = *state;

    app->options.allow_connect = true;
    app_restart(app);
    app_connect(app, NULL);
    app_send(app, SLICE("CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n"));
    struct app_request *request = app_request(app, 0);
    assert_true(slice_equal(request->exchange->request.authority, SLICE("127.0.0.1:80")));
    exchange_send_head(request->exchange,
                       &(struct head){ .status = 200, .content_length = CONTENT_LENGTH_UNKNOWN },
                       false);
    app_turn(app, 3);
    assert_true(app_received(app, "HTTP/1.1 200 OK\r\n\r\n"));
    app_send(app, SLICE("ping"));
    assert_body(request, "ping");
}

/* ---- pressure ---- */

static void at_most_one_window_is_delivered_unconsumed(void **state)
{
    struct app *app = *state;
    static char bytes[300000];

    app->auto_consume = false;
    for (unsigned pass = 0; pass < 2; pass++) {
        app->limits.window_bytes = pass == 0 ? 65536 : 1000;
        app_restart(app);
        app_connect(app, NULL);
        app_send(app, SLICE("POST / HTTP/1.1\r\n" HOST "Content-Length: 300000\r\n\r\n"));
        struct app_request *request = app_request(app, 0);
        size_t sent = 0;

        for (unsigned i = 0; i < 400; i++) {
            struct slice rest = slice_of(bytes + sent, sizeof(bytes) - sent);
            size_t count = 0;
            if (conn_write(app->client, &rest, 1, &count) == STATUS_OK)
                sent += count;
            app_turn(app, 1);
        }
        assert_int_equal(request->body.len, app->limits.window_bytes);
        exchange_consumed(request->exchange, 10);
        app_turn(app, 4);
        assert_int_equal(request->body.len, app->limits.window_bytes + 10);
        while (request->body.len < sizeof(bytes)) {
            size_t before = request->body.len;
            exchange_consumed(request->exchange, app->limits.window_bytes);
            for (unsigned i = 0; i < 4; i++) {
                struct slice rest = slice_of(bytes + sent, sizeof(bytes) - sent);
                size_t count = 0;
                if (rest.len > 0 && conn_write(app->client, &rest, 1, &count) == STATUS_OK)
                    sent += count;
                app_turn(app, 2);
            }
            assert_true(request->body.len > before);
        }
        assert_true(request->ended);
    }
}

static void a_body_that_came_with_its_head_keeps_to_the_window_too(void **state)
{
    struct app *app = *state;

    app->auto_consume = false;
    app->limits.window_bytes = 4;
    app_connect(app, NULL);
    app_send(app, SLICE("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                        "A\r\n0123456789\r\n0\r\n\r\n" GET_ROOT));
    struct app_request *request = app_request(app, 0);
    assert_body(request, "0123");
    for (unsigned i = 0; i < 20 && !request->ended; i++) {
        exchange_consumed(request->exchange, request->body.len);
        buf_deinit(&request->body);
        app_turn(app, 1);
        assert_true(request->body.len <= 4);
    }
    assert_true(request->ended);
    app_reply(request, 200, "ok");
    app_turn(app, 2);
    assert_int_equal(app->request_count, 2);
}

static void a_client_that_does_not_read_holds_the_owner_back(void **state)
{
    struct app *app = *state;
    static char bytes[40000];

    app_connect(app, &(struct conn_memory_options){ .pipe_bytes = 10000 });
    app_send(app, SLICE(GET_ROOT));
    conn_want_read(app->client, false);
    struct app_request *request = app_request(app, 0);
    exchange_send_head(request->exchange,
                       &(struct head){ .status = 200, .content_length = CONTENT_LENGTH_UNKNOWN },
                       false);
    exchange_write(request->exchange, slice_of(bytes, sizeof(bytes)));
    app_turn(app, 10);
    assert_true(request->drained_bytes < 10000);
    assert_int_equal(request->drained_bytes + request->exchange->out.len, sizeof(bytes));
    exchange_end(request->exchange, NULL);
    conn_want_read(app->client, true);
    app_turn(app, 30);
    assert_int_equal(request->drained_bytes, sizeof(bytes));
    assert_true(app_contains(app, "\r\n0\r\n\r\n"));
}

static void a_hundred_megabytes_pass_both_ways(void **state)
{
    struct app *app = *state;
    enum { CHUNK = 60000, TOTAL = 100 * 1000 * 1000 };
    static char bytes[CHUNK];
    size_t got = 0, sent_in = 0, sent_out = 0;
    char head[200];

    snprintf(head, sizeof(head), "POST / HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", TOTAL);
    app_connect(app, NULL);
    app_send(app, slice_from_string(head));
    struct app_request *request = app_request(app, 0);
    exchange_send_head(request->exchange, &(struct head){ .status = 200, .content_length = TOTAL },
                       false);
    while (!request->ended || got < TOTAL) {
        size_t left = TOTAL - sent_in, count = 0;
        struct slice part = slice_of(bytes, left < CHUNK ? left : CHUNK);
        if (part.len > 0 && conn_write(app->client, &part, 1, &count) == STATUS_OK)
            sent_in += count;
        left = TOTAL - sent_out;
        if (left > 0 && request->exchange->out.len == 0) {
            exchange_write(request->exchange, slice_of(bytes, left < CHUNK ? left : CHUNK));
            sent_out += left < CHUNK ? left : CHUNK;
        }
        app_turn(app, 1);
        got +=
            app->received.len - (got == 0 && app->received.len > 0
                                     ? (size_t)((char *)memmem(buf_slice(&app->received).ptr,
                                                               app->received.len, "\r\n\r\n", 4) +
                                                4 - buf_slice(&app->received).ptr)
                                     : 0);
        app_clear(app);
        assert_true(request->body.len <= 65536);
        assert_true(request->exchange->out.len <= CHUNK);
        buf_deinit(&request->body);
    }
    assert_int_equal(got, TOTAL);
    assert_int_equal(request->reset, NO_RESET);
    exchange_end(request->exchange, NULL);
    app_turn(app, 3);
    assert_true(app_client_is_closed(app));
}

/* ---- ends ---- */

static void a_client_that_goes_away_resets_the_owner(void **state)
{
    struct app *app = *state;
    static const struct slice heads[] = {
        SLICE(GET_ROOT),
        SLICE("POST / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nabc"),
        SLICE("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nab"),
        SLICE(WEBSOCKET),
    };

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        for (unsigned dirty = 0; dirty < 2; dirty++) {
            app_restart(app);
            app_connect(app, NULL);
            app_send(app, heads[i]);
            if (dirty)
                conn_memory_break(app->client);
            else
                conn_shutdown(app->client);
            app_turn(app, 4);
            assert_int_equal(app_request(app, 0)->reset, RESET_CANCEL);
            assert_int_equal(http_server_conn_count(app->server), 0);
        }
    }
}

static void a_reset_of_the_owner_cuts_the_connection(void **state)
{
    struct app *app = *state;

    for (unsigned i = 0; i < 3; i++) {
        app_restart(app);
        app_connect(app, NULL);
        app_send(app, SLICE(GET_ROOT));
        struct app_request *request = app_request(app, 0);
        if (i > 0) {
            exchange_send_head(
                request->exchange,
                &(struct head){ .status = 200, .content_length = CONTENT_LENGTH_UNKNOWN }, false);
            exchange_write(request->exchange, SLICE("part"));
            app_turn(app, 2);
        }
        if (i == 2)
            app_release(request);
        else
            exchange_reset(request->exchange, RESET_INTERNAL);
        app_turn(app, 3);
        assert_int_equal(request->reset, NO_RESET);
        assert_true(app_client_is_closed(app));
        assert_false(app_contains(app, "0\r\n\r\n"));
        assert_int_equal(http_server_conn_count(app->server), 0);
    }
}

static void an_exchange_may_be_released_long_after_its_connection(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE(GET_ROOT));
    struct app_request *request = app_request(app, 0);
    app_reply(request, 200, "ok");
    app_turn(app, 2);
    app_send(app, SLICE(GET_ROOT)); /* the next one does not wait for the release */
    assert_int_equal(app->request_count, 2);
    conn_destroy(&app->client);
    app_turn(app, 4);
    assert_int_equal(http_server_conn_count(app->server), 0);
    assert_int_equal(request->exchange->link->version, HTTP_1_1);
    exchange_consumed(request->exchange, 0);
    exchange_reset(request->exchange, RESET_CANCEL);
    app_release(request);
}

static void released_output_still_goes_out(void **state)
{
    struct app *app = *state;

    app_connect(app, &(struct conn_memory_options){ .pipe_bytes = 10 });
    app_send(app, SLICE(GET_ROOT));
    app_reply(app_request(app, 0), 200, "a longer body than fits into the pipe");
    app_release(app_request(app, 0));
    app_turn(app, 60);
    assert_true(app_contains(app, "a longer body than fits into the pipe"));
    app_clear(app);
    app_send(app, SLICE(GET_ROOT));
    assert_int_equal(app->request_count, 2);
}

static void destroying_the_server_resets_everybody(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE("POST / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nabc"));
    http_server_destroy(&app->server);
    assert_int_equal(app_request(app, 0)->reset, RESET_LOST);
    assert_int_equal(app->closed_count, 1);
    app_turn(app, 2);
    assert_true(app_client_is_closed(app));
}

/* ---- time ---- */

static void a_slow_head_is_closed(void **state)
{
    struct app *app = *state;

    app->limits.head_timeout_ms = 40;
    app_connect(app, NULL);
    app_send(app, SLICE("GET / HTTP/1.1\r\nHost:"));
    assert_true(app_wait(app, 2000, app_client_is_closed));
    assert_int_equal(app->received.len, 0);
    assert_int_equal(counter_read(&http_server_counters(app->server)->closed_head_timeout), 1);
}

static void a_second_head_has_its_own_time(void **state)
{
    struct app *app = *state;

    app->auto_reply = true;
    app->limits.head_timeout_ms = 40;
    app_connect(app, NULL);
    app_send(app, SLICE(GET_ROOT "GET /"));
    assert_true(app_wait(app, 2000, app_client_is_closed));
    assert_int_equal(counter_read(&http_server_counters(app->server)->closed_head_timeout), 1);
}

static void an_idle_connection_is_closed(void **state)
{
    struct app *app = *state;

    app->auto_reply = true;
    app->limits.keepalive_ms = 40;
    app_connect(app, NULL);
    app_send(app, SLICE(GET_ROOT));
    assert_false(app->client_ended);
    assert_true(app_wait(app, 2000, app_client_is_closed));
    assert_int_equal(counter_read(&http_server_counters(app->server)->closed_idle), 1);
}

static void a_request_that_takes_long_is_left_alone(void **state)
{
    struct app *app = *state;

    app->limits.keepalive_ms = app->limits.head_timeout_ms = 20;
    app_connect(app, NULL);
    app_send(app, SLICE(GET_ROOT));
    assert_false(app_wait(app, 120, app_client_is_closed));
    assert_int_equal(app_request(app, 0)->reset, NO_RESET);
}

static bool first_is_reset(const struct app *app)
{
    return app->requests[0].reset != NO_RESET;
}

static void a_client_that_takes_nothing_is_cut(void **state)
{
    struct app *app = *state;

    app->limits.write_stall_ms = 40;
    app_connect(app, &(struct conn_memory_options){ .pipe_bytes = 100 });
    app_send(app, SLICE(GET_ROOT));
    conn_want_read(app->client, false);
    exchange_send_head(app_request(app, 0)->exchange,
                       &(struct head){ .status = 200, .content_length = 1000 }, false);
    exchange_write(app_request(app, 0)->exchange, slice_of((char[1000]){ 0 }, 1000));
    assert_true(app_wait(app, 2000, first_is_reset));
    assert_int_equal(app->requests[0].reset, RESET_LOST);
    assert_int_equal(counter_read(&http_server_counters(app->server)->closed_stalled), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, app_setup, app_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_request_is_answered_in_one_write),
        T(a_connection_serves_many_requests),
        T(pipelined_requests_are_served_one_after_the_other),
        T(chunks_and_trailers_come_in_however_they_are_cut),
        T(chunks_and_trailers_go_out),
        T(a_response_may_start_and_flow_before_the_request_ends),
        T(responses_without_a_body_have_none),
        T(http_1_0_gets_no_chunks_and_is_kept_alive_when_it_asks),
        T(connection_close_and_the_request_limit_end_keep_alive),
        T(the_writer_checks_what_the_owner_says),
        T(hop_by_hop_fields_of_the_owner_stay_behind),
        T(what_could_smuggle_is_refused_and_the_connection_closed),
        T(a_head_without_end_is_refused_at_its_limit),
        T(a_bad_chunk_resets_the_owner_and_answers_400),
        T(a_bad_chunk_after_the_response_began_cuts_it),
        T(without_a_refuse_function_the_body_is_empty),
        T(one_blank_line_before_a_request_is_forgiven),
        T(an_early_answer_closes_after_it_was_read),
        T(a_response_that_is_complete_may_wait_for_the_request),
        T(a_reset_without_error_after_the_response_closes_politely),
        T(the_owner_passes_100_on),
        T(asking_for_the_body_says_100),
        T(an_owner_that_says_nothing_gets_the_body_after_a_second),
        T(a_refused_expectation_closes_without_100),
        T(early_hints_go_out_before_the_head),
        T(an_upgrade_becomes_a_tunnel_after_101_only),
        T(a_tunnel_ends_on_our_side_first_too),
        T(an_upgrade_that_is_declined_stays_http_and_closes),
        T(connect_is_a_tunnel_where_the_server_allows_it),
        T(at_most_one_window_is_delivered_unconsumed),
        T(a_body_that_came_with_its_head_keeps_to_the_window_too),
        T(a_client_that_does_not_read_holds_the_owner_back),
        T(a_hundred_megabytes_pass_both_ways),
        T(a_client_that_goes_away_resets_the_owner),
        T(a_reset_of_the_owner_cuts_the_connection),
        T(an_exchange_may_be_released_long_after_its_connection),
        T(released_output_still_goes_out),
        T(destroying_the_server_resets_everybody),
        T(a_slow_head_is_closed),
        T(a_second_head_has_its_own_time),
        T(an_idle_connection_is_closed),
        T(a_request_that_takes_long_is_left_alone),
        T(a_client_that_takes_nothing_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
