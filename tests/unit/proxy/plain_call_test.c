/* The plain-JSON form through the whole gateway: what the agent is asked, and the three kinds of answer. */
#include "proxy_fixture.h"

#include <stdio.h>

#include "base/base64.h"
#include "connect/envelope.h"

#define PLAIN "content-type: application/json\nauthorization: Bearer $T\n"
#define START "POST /process.Process/Start"
#define LS "{\"command\":[\"ls\",\"-la\"]}"

static void output(struct agent_call *call, const char *kind, struct slice bytes)
{
    struct buf text = { 0 };

    buf_printf(&text, "{\"event\":{\"data\":{\"%s\":\"", kind);
    base64_encode(bytes, &text);
    buf_append(&text, SLICE("\"}}}"));
    agent_envelope(call, 0, buf_text(&text));
    buf_deinit(&text);
}

static void begin(struct agent_call *call)
{
    agent_answer(call, 200, "content-type: application/connect+json\n", false);
    agent_envelope(call, 0, "{\"event\":{\"start\":{\"pid\":42}}}");
}

static void finish(struct agent_call *call, const char *end)
{
    agent_envelope(call, 0, end);
    agent_envelope(call, ENVELOPE_END_STREAM, "{}");
    agent_end(call, "");
}

#define EXIT_0 "{\"event\":{\"end\":{\"exited\":true,\"status\":\"exit status 0\"}}}"
#define EXIT_3 "{\"event\":{\"end\":{\"exitCode\":3,\"exited\":true,\"status\":\"exit status 3\"}}}"

static struct agent_call *ask(struct fixture *f, struct client *client, struct request *request,
                              const char *target, const char *fields, const char *body)
{
    size_t count = f->call_count;

    client_open(client, f, false);
    request_send(request, client, target, fields, body);
    TURN_UNTIL(f, f->call_count == count + 1 && f->calls[count].ended);
    return &f->calls[count];
}

static void close_all(struct client *client, struct request *request)
{
    request_close(request);
    client_close(client);
}

static void the_documented_curl_gets_one_document(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    struct agent_call *call =
        ask(f, &client, &request, START, PLAIN "accept: */*\naccept-encoding: gzip\n", LS);

    assert_true(buf_has(&call->head, "content-type: application/connect+json\n"));
    assert_true(buf_has(&call->head, "connect-protocol-version: 1\n"));
    assert_false(buf_has(&call->head, "accept-encoding"));
    assert_int_equal(buf_slice(&call->body).ptr[0], 0);
    assert_true(buf_has(&call->body, "\"cmd\":\"ls\""));
    assert_true(buf_has(&call->body, "\"args\":[\"-la\"]"));
    begin(call);
    output(call, "stdout", SLICE("total 0\n"));
    output(call, "stderr", SLICE("oops\n"));
    finish(call, EXIT_3);
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 200);
    assert_true(buf_has(&request.head, "content-type: application/json\n"));
    assert_string_equal(text_of(&request.body),
                        "{\"pid\":42,\"tag\":null,\"stdout\":\"total 0\\n\",\"stderr\":\"oops\\n\","
                        "\"exit_code\":3,\"status\":\"exit status 3\",\"running\":false}\n");
    close_all(&client, &request);
}

static void output_that_is_no_text_is_base64(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    struct agent_call *call =
        ask(f, &client, &request, START, PLAIN, "{\"command\":[\"x\"],\"tag\":\"t\"}");

    begin(call);
    output(call, "stdout", SLICE("\xff\xfe"));
    finish(call, EXIT_0);
    TURN_UNTIL(f, request.ended);
    assert_true(
        buf_has(&request.body,
                "\"tag\":\"t\",\"stdout\":\"//4=\",\"stderr\":\"\",\"encoding\":\"base64\""));
    assert_true(buf_has(&request.body, "\"exit_code\":0"));
    close_all(&client, &request);
}

static void a_process_that_runs_on_is_answered_after_wait_ms(void **state)
{
    static const struct {
        const char *target, *body;
    } rows[] = {
        { START "?wait_ms=50", LS },
        { START, "{\"command\":[\"ls\"],\"wait_ms\":50}" },
        { START "?x=1&wait_ms=50", "{\"command\":[\"ls\"],\"wait_ms\":100000}" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct client client;
        struct request request = { 0 };
        struct agent_call *call = ask(f, &client, &request, rows[i].target, PLAIN, rows[i].body);
        assert_false(buf_has(&call->head, "wait_ms"));
        begin(call);
        output(call, "stdout", SLICE("so far \xc3"));
        uint64_t before_ms = loop_clock(f->loop)->now_ms;
        TURN_UNTIL(f, request.ended);
        assert_true(loop_clock(f->loop)->now_ms - before_ms < 900);
        assert_true(buf_has(&request.body, "\"stdout\":\"so far \""));
        assert_true(buf_has(&request.body, "\"exit_code\":null,\"running\":true"));
        TURN_UNTIL(f, call->was_reset);
        close_all(&client, &request);
    }
}

static void too_much_output_is_cut_and_says_so(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    struct agent_call *call = ask(f, &client, &request, START, PLAIN, LS);
    char block[20000];

    memset(block, 'x', sizeof(block));
    begin(call);
    for (int i = 0; i < 4; i++)
        output(call, "stdout", slice_of(block, sizeof(block)));
    TURN_UNTIL(f, request.ended);
    assert_true(buf_has(&request.body, "\"running\":true,\"truncated\":true"));
    assert_in_range(request.body.len, 64 * 1024, 64 * 1024 + 200);
    close_all(&client, &request);
}

static void ndjson_lines_come_as_events_come(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    struct agent_call *call =
        ask(f, &client, &request, START, PLAIN "accept: application/x-ndjson\n", LS);
    static const char first[] = "{\"event\":\"start\",\"pid\":42}\n";
    static const char rest[] =
        "{\"event\":\"data\",\"stdout\":\"a\xc3\xa4\"}\n"
        "{\"event\":\"data\",\"pty\":\"/w==\",\"encoding\":\"base64\"}\n"
        "{\"event\":\"keepalive\"}\n"
        "{\"event\":\"end\",\"exit_code\":0,\"exited\":true,\"status\":\"exit status 0\"}\n";

    begin(call);
    TURN_UNTIL(f, request.body.len == sizeof(first) - 1);
    assert_true(buf_has(&request.head, "content-type: application/x-ndjson\n"));
    assert_true(buf_has(&request.head, "x-accel-buffering: no\n"));
    output(call, "stdout", SLICE("a\xc3"));
    output(call, "stdout", SLICE("\xa4"));
    output(call, "pty", SLICE("\xff"));
    agent_envelope(call, 0, "{\"event\":{\"keepalive\":{}}}");
    finish(call, EXIT_0);
    TURN_UNTIL(f, request.ended);
    /* A character in two events goes with the second. */
    assert_true(buf_has(
        &request.body,
        "{\"event\":\"data\",\"stdout\":\"a\"}\n{\"event\":\"data\",\"stdout\":\"\xc3\xa4\"}\n"));
    assert_true(buf_has(&request.body, strchr(rest, '\n') + 1));
    close_all(&client, &request);
}

static void server_sent_events_come_as_events_come(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    struct agent_call *call =
        ask(f, &client, &request, "POST /process.Process/Connect",
            PLAIN "accept: text/event-stream\n", "{\"process\":{\"tag\":\"web\"}}");

    assert_true(buf_has(&call->body, "{\"process\":{\"tag\":\"web\"}}"));
    begin(call);
    output(call, "stdout", SLICE("line\n"));
    agent_envelope(call, 0, "{\"event\":{\"keepalive\":{}}}");
    finish(call, EXIT_0);
    TURN_UNTIL(f, request.ended);
    assert_string_equal(
        text_of(&request.body),
        "event: start\ndata: {\"pid\":42,\"tag\":\"web\"}\n\n"
        "event: data\ndata: {\"stdout\":\"line\\n\"}\n\n"
        ": keepalive\n\n"
        "event: end\ndata: {\"exit_code\":0,\"exited\":true,\"status\":\"exit status 0\"}\n\n");
    close_all(&client, &request);
}

static void an_agents_error_before_the_start_is_the_answer(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    struct agent_call *call =
        ask(f, &client, &request, START, PLAIN "accept: application/x-ndjson\n", LS);

    agent_answer(call, 200, "content-type: application/connect+json\n", false);
    agent_envelope(call, ENVELOPE_END_STREAM,
                   "{\"error\":{\"code\":\"not_found\",\"message\":\"no \\\"ls\\\"\"}}");
    agent_end(call, "");
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 404);
    assert_false(buf_has(&request.head, "x-gateway-error")); /* it is not ours */
    assert_true(buf_has(&request.body, "{\"code\":\"not_found\",\"message\":\"no \\\"ls\\\"\""));
    close_all(&client, &request);
}

static void an_agents_error_in_the_middle_is_the_last_event(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    struct agent_call *call =
        ask(f, &client, &request, START, PLAIN "accept: application/x-ndjson\n", LS);

    begin(call);
    agent_envelope(call, ENVELOPE_END_STREAM,
                   "{\"error\":{\"code\":\"deadline_exceeded\",\"message\":\"too long\"}}");
    agent_end(call, "");
    TURN_UNTIL(f, request.ended);
    assert_true(
        buf_has(&request.body,
                "{\"event\":\"error\",\"code\":\"deadline_exceeded\",\"message\":\"too long\""));
    close_all(&client, &request);
}

static void a_lost_agent_is_never_success(void **state)
{
    static const char *const accepts[] = { PLAIN, PLAIN "accept: application/x-ndjson\n" };
    struct fixture *f = *state;

    for (int how = 0; how < 4; how++) {
        struct client client;
        struct request request = { 0 };
        struct agent_call *call = ask(f, &client, &request, START, accepts[how % 2], LS);
        begin(call);
        output(call, "stdout", SLICE("half"));
        if (how < 2) {
            agent_end(call, "");
        } else {
            turn_for(f, 20);
            agent_lose_conns(f);
        }
        TURN_UNTIL(f, request.ended);
        assert_int_equal(request.status, how % 2 == 0 ? 503 : 200);
        assert_true(buf_has(&request.body, "\"code\":\"unavailable\""));
        assert_true(buf_has(&request.body, "half")); /* what there was is not lost */
        assert_false(buf_has(&request.body, "\"exit_code\":0"));
        close_all(&client, &request);
    }
}

static void an_agent_that_breaks_the_protocol_is_named(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    struct agent_call *call = ask(f, &client, &request, START, PLAIN, LS);

    agent_answer(call, 415, "content-type: text/plain\n", true);
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 502);
    assert_true(buf_has(&request.body, "HTTP status 415"));
    close_all(&client, &request);
    call = ask(f, &client, &request, START, PLAIN, LS);
    agent_answer(call, 200, "content-type: application/connect+json\n", false);
    agent_write(call, SLICE("\1\0\0\0\1x"));
    TURN_UNTIL(f, request.ended);
    assert_true(buf_has(&request.head, "x-gateway-error: agent_protocol\n"));
    close_all(&client, &request);
}

static void a_request_that_cannot_be_framed_is_told_why(void **state)
{
    static const struct {
        const char *fields, *body;
        unsigned status;
    } rows[] = {
        { PLAIN, "not json", 400 },
        { PLAIN, "{\"command\":\"ls\"}", 400 },
        { PLAIN, "{\"command\":[\"ls\"],\"wait_ms\":\"x\"}", 400 },
        { PLAIN "content-encoding: gzip\n", "x", 415 },
        { PLAIN "content-length: 70000\n", "x", 413 },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct client client;
        struct request request = { 0 };
        client_open(&client, f, false);
        request_send(&request, &client, START, rows[i].fields, rows[i].body);
        TURN_UNTIL(f, request.ended || request.was_reset);
        if (i < 4)
            assert_int_equal(request.status, rows[i].status);
        close_all(&client, &request);
    }
    assert_int_equal(f->call_count, 0);
}

static void a_body_over_the_limit_is_413(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    char block[8192];

    memset(block, ' ', sizeof(block));
    client_open(&client, f, false);
    request_send(&request, &client, START, PLAIN, NULL);
    for (int i = 0; i < 10; i++)
        exchange_write(request.exchange, slice_of(block, sizeof(block)));
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 413);
    close_all(&client, &request);
}

static void a_slow_reader_of_events_holds_back_the_agent(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { .holds_back = true };
    struct agent_call *call =
        ask(f, &client, &request, START, PLAIN "accept: application/x-ndjson\n", LS);
    char block[8192];

    memset(block, 'x', sizeof(block));
    begin(call);
    for (int i = 0; i < 200; i++)
        output(call, "stdout", slice_of(block, sizeof(block)));
    TURN_UNTIL(f, request.body.len == f->limits.window_bytes);
    turn_for(f, 100);
    size_t before = call->exchange->out.len;
    assert_true(before > 200 * sizeof(block) * 4 / 3 - 4 * f->limits.window_bytes);
    turn_for(f, 50);
    assert_int_equal(call->exchange->out.len, before);
    request.holds_back = false;
    exchange_consumed(request.exchange, request.held_bytes);
    finish(call, EXIT_0);
    TURN_UNTIL(f, request.ended);
    assert_true(request.body.len > 200 * sizeof(block));
    assert_true(buf_has(&request.body, "\"event\":\"end\""));
    close_all(&client, &request);
}

static void a_revoked_session_is_an_error_event(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    struct agent_call *call =
        ask(f, &client, &request, START, PLAIN "accept: text/event-stream\n", LS);

    begin(call);
    TURN_UNTIL(f, request.body.len > 0);
    fake_store_set(f->store, RECORD_SESSION, "ses_1", NULL);
    TURN_UNTIL(f, request.ended);
    assert_true(buf_has(&request.body, "event: error\ndata: {\"code\":\"unauthenticated\""));
    TURN_UNTIL(f, call->was_reset);
    close_all(&client, &request);
}

static void a_refused_plain_request_is_sent_once_more(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    f->agent_refuses = true;
    client_open(&client, f, false);
    request_send(&request, &client, START, PLAIN, LS);
    TURN_UNTIL(f, f->call_count == 1);
    f->agent_refuses = false;
    TURN_UNTIL(f, f->call_count == 2 && f->calls[1].ended);
    assert_true(slice_equal(buf_slice(&f->calls[0].body), SLICE("")) ||
                f->calls[0].body.len == f->calls[1].body.len);
    begin(&f->calls[1]);
    finish(&f->calls[1], EXIT_0);
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 200);
    close_all(&client, &request);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_documented_curl_gets_one_document),
        TEST(output_that_is_no_text_is_base64),
        TEST(a_process_that_runs_on_is_answered_after_wait_ms),
        TEST(too_much_output_is_cut_and_says_so),
        TEST(ndjson_lines_come_as_events_come),
        TEST(server_sent_events_come_as_events_come),
        TEST(an_agents_error_before_the_start_is_the_answer),
        TEST(an_agents_error_in_the_middle_is_the_last_event),
        TEST(a_lost_agent_is_never_success),
        TEST(an_agent_that_breaks_the_protocol_is_named),
        TEST(a_request_that_cannot_be_framed_is_told_why),
        TEST(a_body_over_the_limit_is_413),
        TEST(a_slow_reader_of_events_holds_back_the_agent),
        TEST(a_revoked_session_is_an_error_event),
        TEST(a_refused_plain_request_is_sent_once_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
