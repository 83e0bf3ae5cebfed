/* What passes through the exec host, byte for byte, and what the agent and the client see of each
 * other. */
#include "proxy_fixture.h"

#include <stdio.h>

#include "connect/envelope.h"
#include "proxy/call_list.h"

#define AUTH "authorization: Bearer $T\n"
#define STREAM "content-type: application/connect+json\n" AUTH
#define UNARY "content-type: application/json\n" AUTH

static void all_eight_methods_pass_byte_for_byte(struct fixture *f, bool client_h1)
{
    static const struct {
        const char *target, *fields;
    } rows[] = {
        { "POST /process.Process/Start", STREAM },
        { "POST /process.Process/Connect", "content-type: application/connect+proto\n" AUTH },
        { "POST /process.Process/StreamInput", STREAM },
        { "POST /process.Process/List", UNARY },
        { "POST /process.Process/Update", "content-type: application/proto\n" AUTH },
        { "POST /process.Process/SendInput", UNARY },
        { "POST /process.Process/SendSignal", "content-type: application/grpc+proto\n" AUTH },
        { "POST /process.Process/CloseStdin", "content-type: application/grpc-web+json\n" AUTH },
    };
    struct client client;
    char body[] = "\0\0\0\0\4\1\2\xff\xfe";

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct request request = { 0 };
        client_open(&client, f, client_h1);
        request_send_bytes(&request, &client, rows[i].target, rows[i].fields, slice_of(body, 9),
                           true);
        TURN_UNTIL(f, f->call_count == i + 1 && f->calls[i].ended);
        struct agent_call *call = &f->calls[i];
        assert_true(slice_equal(buf_slice(&call->body), slice_of(body, 9)));
        assert_true(buf_has(&call->head, rows[i].target));
        agent_answer(call, 200, "content-type: x/y\nx-agent: 1\n", false);
        agent_write(call, slice_of(body, 9));
        agent_end(call, "");
        TURN_UNTIL(f, request.ended);
        assert_int_equal(request.status, 200);
        assert_true(buf_has(&request.head, "x-agent: 1\n"));
        assert_true(buf_has(&request.head, "x-request-id: "));
        assert_false(buf_has(&request.head, "x-gateway-error"));
        assert_true(slice_equal(buf_slice(&request.body), slice_of(body, 9)));
        request_close(&request);
        client_close(&client);
    }
}

static void all_eight_methods_pass_over_h2(void **state)
{
    all_eight_methods_pass_byte_for_byte(*state, false);
}

static void all_eight_methods_pass_over_h1(void **state)
{
    all_eight_methods_pass_byte_for_byte(*state, true);
}

static void an_http1_agent_is_spoken_to_in_http1(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    char fields[300];

    *strstr(f->computer, ";protocol=") = '\0'; /* cuts boot and agent_token, too */
    snprintf(fields, sizeof(fields), "%s;protocol=http1", f->computer);
    fixture_set_computer(f, fields);
    client_open(&client, f, false);
    request_send(&request, &client, "POST /process.Process/List", UNARY, "{}");
    TURN_UNTIL(f, f->call_count == 1 && f->calls[0].ended);
    assert_int_equal(f->calls[0].exchange->link->version, HTTP_1_1);
    agent_answer(&f->calls[0], 200, "content-type: application/json\n", false);
    agent_write(&f->calls[0], SLICE("{}"));
    agent_end(&f->calls[0], "");
    TURN_UNTIL(f, request.ended);
    assert_string_equal(text_of(&request.body), "{}");
    request_close(&request);
    client_close(&client);
}

static void a_stream_flows_both_ways_before_either_side_ends(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    client_open(&client, f, false);
    request_send(&request, &client, "POST /process.Process/StreamInput", STREAM, NULL);
    TURN_UNTIL(f, f->call_count == 1);
    agent_answer(&f->calls[0], 200, "content-type: application/connect+json\n", false);
    TURN_UNTIL(f, request.status == 200);
    exchange_write(request.exchange, SLICE("\0\0\0\0\2{}"));
    TURN_UNTIL(f, f->calls[0].body.len == 7);
    agent_envelope(&f->calls[0], 0, "{\"a\":1}");
    TURN_UNTIL(f, request.body.len == 12);
    exchange_end(request.exchange, NULL);
    TURN_UNTIL(f, f->calls[0].ended);
    agent_envelope(&f->calls[0], ENVELOPE_END_STREAM, "{}");
    agent_end(&f->calls[0], "");
    TURN_UNTIL(f, request.ended);
    assert_false(request.was_reset);
    assert_int_equal(request.body.len, 12 + 7);
    request_close(&request);
    client_close(&client);
}

/* An open stream lets go of the heads; what its list entry and its error say of the request stays. */
static void an_open_stream_still_knows_what_was_asked(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    struct buf list = { 0 };

    client_open(&client, f, false);
    request_send(&request, &client, "POST /process.Process/Start?a=b",
                 "user-agent: somebody/1\nx-many: 1\nx-request-id: from-the-client\n" STREAM, NULL);
    TURN_UNTIL(f, f->call_count == 1);
    agent_answer(&f->calls[0], 200, "content-type: application/connect+json\nx-agent: 1\n", false);
    TURN_UNTIL(f, request.status == 200);
    proxy_list_calls(f->proxy, 10, &list);
    assert_true(buf_has(&list, "\"path\":\"/process.Process/Start?...\""));
    assert_true(buf_has(&list, "\"method\":\"POST\""));
    buf_deinit(&list);
    agent_envelope(&f->calls[0], 0, "{}");
    agent_reset(&f->calls[0], RESET_INTERNAL);
    TURN_UNTIL(f, request.ended);
    assert_true(buf_has(&request.body, "\"code\":\"")); /* as the end of its own protocol */
    fixture_read_log(f, &list);
    assert_true(buf_has(&list, "\"user_agent\":\"somebody/1\""));
    assert_true(buf_has(&list, "\"path\":\"/process.Process/Start?...\""));
    buf_deinit(&list);
    request_close(&request);
    client_close(&client);
}

static void grpc_trailers_and_te_pass(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    client_open(&client, f, false);
    request_send(&request, &client, "POST /process.Process/List",
                 "content-type: application/grpc+proto\nte: trailers\n" AUTH, "");
    TURN_UNTIL(f, f->call_count == 1 && f->calls[0].ended);
    assert_true(buf_has(&f->calls[0].head, "te: trailers\n"));
    agent_answer(&f->calls[0], 200, "content-type: application/grpc+proto\n", false);
    agent_write(&f->calls[0], SLICE("\0\0\0\0\0"));
    agent_end(&f->calls[0], "grpc-status: 0\nx-last: 1\n");
    TURN_UNTIL(f, request.ended);
    assert_string_equal(text_of(&request.trailers), "grpc-status: 0\nx-last: 1\n");
    request_close(&request);
    client_close(&client);
}

static void trailers_only_passes(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    client_open(&client, f, false);
    request_send(&request, &client, "POST /process.Process/List",
                 "content-type: application/grpc\n" AUTH, "");
    TURN_UNTIL(f, f->call_count == 1);
    agent_answer(&f->calls[0], 200, "content-type: application/grpc\ngrpc-status: 5\n", true);
    TURN_UNTIL(f, request.ended);
    assert_true(buf_has(&request.head, "grpc-status: 5\n"));
    request_close(&request);
    client_close(&client);
}

static void the_agent_learns_who_asks_and_nothing_of_the_token(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    client_open(&client, f, false);
    request_send(&request, &client, "POST /process.Process/List?a=1&access_token=$T&b=2",
                 UNARY
                 "x-access-token: $T\nx-user-id: evil\nx-session-id: evil\nx-request-id: evil\n"
                 "x-forwarded-for: 6.6.6.6\nx-gateway-delivered: x\nx-gateway-new: x\n"
                 "x-real-ip: 6.6.6.6\nforwarded: for=6.6.6.6\nx-forwarded-proto: gopher\n"
                 "x-own: kept\nkeepalive-ping-interval: 0\nuser-agent: t/1\n",
                 "{}");
    TURN_UNTIL(f, f->call_count == 1);
    struct buf *head = &f->calls[0].head;
    assert_true(buf_has(head, "POST /process.Process/List?a=1&b=2\n"));
    assert_true(buf_has(head, "authorization: Bearer guest-secret\n"));
    assert_true(buf_has(head, "x-computer-id: cmp_1\n"));
    assert_true(buf_has(head, "x-session-id: ses_1\n"));
    assert_true(buf_has(head, "x-user-id: usr_1\n"));
    assert_true(buf_has(head, "x-forwarded-for: 127.0.0.1\n"));
    assert_true(buf_has(head, "x-forwarded-proto: http\n"));
    assert_true(buf_has(head, "x-forwarded-host: exec.test\n"));
    assert_true(buf_has(head, "traceparent: 00-"));
    assert_true(buf_has(head, "x-own: kept\n"));
    assert_true(buf_has(head, "keepalive-ping-interval: 1\n"));
    assert_true(buf_has(head, "user-agent: t/1\n"));
    assert_false(buf_has(head, "evil"));
    assert_false(buf_has(head, "6.6.6.6"));
    assert_false(buf_has(head, "x-gateway-"));
    assert_false(buf_has(head, "eyJ")); /* how every JWT begins */
    request_close(&request);
    client_close(&client);
}

static void a_basic_user_passes_to_an_agent_without_a_token(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    *strstr(f->computer, ";agent_token") = '\0';
    fixture_set_computer(f, f->computer);
    client_open(&client, f, false);
    request_send(&request, &client, "POST /process.Process/List",
                 "content-type: application/json\nauthorization: Basic dXNlcjo=\n"
                 "x-access-token: $T\n",
                 "{}");
    TURN_UNTIL(f, f->call_count == 1);
    assert_true(buf_has(&f->calls[0].head, "authorization: Basic dXNlcjo=\n"));
    assert_false(buf_has(&f->calls[0].head, "x-access-token"));
    request_close(&request);
    client_close(&client);
}

static void a_slow_client_holds_back_the_agent_at_one_window_each(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request slow = { .holds_back = true };
    char block[4096] = { 0 };

    client_open(&client, f, false);
    request_send(&slow, &client, "POST /process.Process/List", UNARY, "{}");
    TURN_UNTIL(f, f->call_count == 1);
    agent_answer(&f->calls[0], 200, "content-type: application/json\n", false);
    for (size_t i = 0; i < 256; i++)
        agent_write(&f->calls[0], slice_of(block, sizeof(block)));
    TURN_UNTIL(f, slow.body.len == f->limits.window_bytes);
    turn_for(f, 100);
    /* What has left the agent lies in the client's window and in the gateway's: two windows at
     * most. */
    size_t left = 256 * sizeof(block) - f->calls[0].exchange->out.len;
    assert_true(left <= 2 * f->limits.window_bytes);
    assert_int_equal(slow.body.len, f->limits.window_bytes);
    slow.holds_back = false;
    exchange_consumed(slow.exchange, slow.held_bytes);
    agent_end(&f->calls[0], "");
    TURN_UNTIL(f, slow.ended);
    assert_int_equal(slow.body.len, 256 * sizeof(block));
    request_close(&slow);
    client_close(&client);
}

static void a_slow_agent_holds_back_the_client(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    char block[4096] = { 1 };

    client_open(&client, f, false);
    request_send(&request, &client, "POST /process.Process/StreamInput", STREAM, NULL);
    TURN_UNTIL(f, f->call_count == 1);
    f->calls[0].holds_back = true;
    for (size_t i = 0; i < 256; i++)
        exchange_write(request.exchange, slice_of(block, sizeof(block)));
    turn_for(f, 100);
    size_t left = 256 * sizeof(block) - request.exchange->out.len;
    assert_true(left <= 2 * f->limits.window_bytes);
    f->calls[0].holds_back = false;
    exchange_consumed(f->calls[0].exchange, f->calls[0].held_bytes);
    exchange_end(request.exchange, NULL);
    TURN_UNTIL(f, f->calls[0].ended);
    assert_int_equal(f->calls[0].body.len, 256 * sizeof(block));
    request_close(&request);
    client_close(&client);
}

static void expect_continue_is_answered_once_let_in(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    client_open(&client, f, true);
    request_send(&request, &client, "POST /process.Process/List", UNARY "expect: 100-continue\n",
                 NULL);
    TURN_UNTIL(f, buf_has(&request.head, "interim 100\n"));
    TURN_UNTIL(f, f->call_count == 1);
    assert_false(buf_has(&f->calls[0].head, "expect"));
    request_close(&request);
    client_close(&client);
}

static void cors_fields_are_added_where_the_agent_has_none(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request own = { 0 }, theirs = { 0 };

    client_open(&client, f, false);
    request_send(&own, &client, "POST /process.Process/List", UNARY "origin: https://a\n", "{}");
    TURN_UNTIL(f, f->call_count == 1);
    agent_answer(&f->calls[0], 200, "content-type: application/json\n", true);
    TURN_UNTIL(f, own.ended);
    assert_true(buf_has(&own.head, "access-control-allow-origin: *\n"));
    request_send(&theirs, &client, "POST /process.Process/List", UNARY "origin: https://a\n", "{}");
    TURN_UNTIL(f, f->call_count == 2);
    agent_answer(&f->calls[1], 200, "access-control-allow-origin: https://a\n", true);
    TURN_UNTIL(f, theirs.ended);
    assert_false(buf_has(&theirs.head, "access-control-allow-origin: *\n"));
    request_close(&own);
    request_close(&theirs);
    client_close(&client);
}

static void each_call_is_one_line_of_json_without_secrets(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request good = { 0 }, bad = { 0 };
    struct buf log = { 0 };

    client_open(&client, f, false);
    request_send(&good, &client, "POST /process.Process/List?access_token=$T&q=private",
                 UNARY "user-agent: t\"1\n", "{}");
    TURN_UNTIL(f, f->call_count == 1 && f->calls[0].ended);
    agent_answer(&f->calls[0], 200, "content-type: application/json\n", false);
    agent_write(&f->calls[0], SLICE("{\"a\":1}"));
    agent_end(&f->calls[0], "");
    TURN_UNTIL(f, good.ended);
    request_send(&bad, &client, "POST /process.Process/List", "content-type: application/json\n",
                 "{}");
    TURN_UNTIL(f, bad.ended);
    fixture_read_log(f, &log);
    assert_true(buf_has(&log, "\"sid\":\"ses_1\",\"user\":\"usr_1\",\"computer\":\"cmp_1\""));
    assert_true(buf_has(&log, "\"path\":\"/process.Process/List?...\",\"http\":\"2\""));
    assert_true(buf_has(&log, "\"user_agent\":\"t\\\"1\""));
    assert_true(buf_has(
        &log,
        "\"protocol\":\"connect_unary\",\"status\":200,\"reason\":\"ok\",\"ended_by\":\"agent\""));
    assert_true(buf_has(&log, "\"bytes_in\":2,\"bytes_out\":7"));
    assert_true(buf_has(&log, "\"remote\":\"127.0.0.1\""));
    assert_true(
        buf_has(&log, "\"status\":401,\"reason\":\"token_missing\",\"code\":\"unauthenticated\""));
    assert_false(buf_has(&log, "eyJ"));
    assert_false(buf_has(&log, "private"));
    assert_false(buf_has(&log, "guest-secret"));
    buf_deinit(&log);
    request_close(&good);
    request_close(&bad);
    client_close(&client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_eight_methods_pass_over_h2),
        TEST(all_eight_methods_pass_over_h1),
        TEST(an_http1_agent_is_spoken_to_in_http1),
        TEST(a_stream_flows_both_ways_before_either_side_ends),
        TEST(an_open_stream_still_knows_what_was_asked),
        TEST(grpc_trailers_and_te_pass),
        TEST(trailers_only_passes),
        TEST(the_agent_learns_who_asks_and_nothing_of_the_token),
        TEST(a_basic_user_passes_to_an_agent_without_a_token),
        TEST(a_slow_client_holds_back_the_agent_at_one_window_each),
        TEST(a_slow_agent_holds_back_the_client),
        TEST(expect_continue_is_answered_once_let_in),
        TEST(cors_fields_are_added_where_the_agent_has_none),
        TEST(each_call_is_one_line_of_json_without_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
