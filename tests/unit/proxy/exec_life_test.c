/* How calls end: resets either way, a lost agent, deadlines, expiry, revocation, a computer that
 * stops or moves; and the one retry. */
#include "proxy_fixture.h"

#include <stdio.h>

#include "connect/envelope.h"

#define AUTH "authorization: Bearer $T\n"
#define STREAM "content-type: application/connect+json\n" AUTH
#define UNARY "content-type: application/json\n" AUTH
#define LIST "POST /process.Process/List"
#define START "POST /process.Process/Start"

struct pair {
    struct client client;
    struct request request;
    struct agent_call *agent;
};

/* A request that has reached the agent. */
static void pair_open(struct pair *pair, struct fixture *f, const char *target, const char *fields)
{
    *pair = (struct pair){ 0 };
    client_open(&pair->client, f, false);
    request_send(&pair->request, &pair->client, target, fields, "");
    TURN_UNTIL(f, f->call_count > 0);
    pair->agent = &f->calls[f->call_count - 1];
}

/* …and whose answer, a Connect stream, has begun with one event. */
static void pair_open_stream(struct pair *pair, struct fixture *f, const char *more_fields)
{
    char fields[512];

    snprintf(fields, sizeof(fields), "%s%s", STREAM, more_fields);
    pair_open(pair, f, START, fields);
    agent_answer(pair->agent, 200, "content-type: application/connect+json\n", false);
    agent_envelope(pair->agent, 0, "{\"event\":{}}");
    TURN_UNTIL(f, pair->request.body.len == 5 + 12);
}

static void pair_close(struct pair *pair)
{
    request_close(&pair->request);
    client_close(&pair->client);
}

static void expect_stream_end(struct fixture *f, struct pair *pair, const char *code)
{
    TURN_UNTIL(f, pair->request.ended || pair->request.was_reset);
    assert_true(pair->request.ended);
    assert_int_equal(buf_slice(&pair->request.body).ptr[17], ENVELOPE_END_STREAM);
    if (!buf_has(&pair->request.body, code))
        fail_msg("%s", text_of(&pair->request.body) + 22);
}

static void a_client_that_leaves_is_felt_by_the_agent_at_once(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open_stream(&pair, f, "");
    exchange_reset(pair.request.exchange, RESET_CANCEL);
    uint64_t before_ms = loop_clock(f->loop)->now_ms;
    TURN_UNTIL(f, pair.agent->was_reset);
    assert_true(loop_clock(f->loop)->now_ms - before_ms < 100);
    assert_int_equal(pair.agent->reason, RESET_CANCEL);
    assert_int_equal(counter_read(&proxy_counters(f->proxy)->ended[STATUS_CANCELED]), 1);
    pair_close(&pair);
}

static void a_client_connection_that_breaks_cancels_all_its_calls(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open_stream(&pair, f, "");
    exchange_release(&pair.request.exchange);
    http_client_destroy(&pair.client.http);
    TURN_UNTIL(f, pair.agent->was_reset);
    TURN_UNTIL(f, proxy_call_count(f->proxy) == 0);
    assert_int_equal(proxy_call_count(f->proxy), 0);
    pair_close(&pair);
}

static void an_http1_client_that_closes_cancels_its_call(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    client_open(&client, f, true);
    request_send(&request, &client, START, STREAM, "");
    TURN_UNTIL(f, f->call_count == 1);
    agent_answer(&f->calls[0], 200, "content-type: application/connect+json\n", false);
    agent_envelope(&f->calls[0], 0, "{}");
    TURN_UNTIL(f, request.body.len == 7);
    exchange_release(&request.exchange);
    client_close(&client);
    TURN_UNTIL(f, f->calls[0].was_reset);
    assert_int_equal(f->calls[0].reason, RESET_CANCEL);
    request_close(&request);
}

static void an_agent_lost_inside_a_message_breaks_an_http1_response(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    client_open(&client, f, true);
    request_send(&request, &client, START, STREAM, "");
    TURN_UNTIL(f, f->call_count == 1);
    agent_answer(&f->calls[0], 200, "content-type: application/connect+json\n", false);
    agent_write(&f->calls[0], SLICE("\0\0\0\1\0half"));
    TURN_UNTIL(f, request.body.len == 9);
    agent_lose_conns(f);
    TURN_UNTIL(f, request.was_reset);
    assert_false(request.ended);
    request_close(&request);
    client_close(&client);
}

static void an_agent_lost_at_an_edge_ends_the_stream_with_unavailable(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open_stream(&pair, f, "");
    agent_lose_conns(f);
    expect_stream_end(f, &pair, "\"code\":\"unavailable\"");
    pair_close(&pair);
}

static void an_agent_lost_inside_a_message_resets_the_stream(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open_stream(&pair, f, "");
    agent_write(pair.agent, SLICE("\0\0\0\1\0half"));
    TURN_UNTIL(f, pair.request.body.len == 17 + 9);
    agent_lose_conns(f);
    TURN_UNTIL(f, pair.request.was_reset);
    assert_false(pair.request.ended);
    assert_int_equal(pair.request.reason, RESET_INTERNAL);
    pair_close(&pair);
}

static void a_clean_end_without_end_of_stream_is_never_success(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open_stream(&pair, f, "");
    agent_end(pair.agent, "");
    expect_stream_end(f, &pair, "\"code\":\"unavailable\"");
    pair_close(&pair);
}

static void an_end_inside_a_message_is_never_success(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open_stream(&pair, f, "");
    agent_write(pair.agent, SLICE("\0\0\0\1\0half"));
    agent_end(pair.agent, "");
    TURN_UNTIL(f, pair.request.was_reset || pair.request.ended);
    assert_false(pair.request.ended);
    pair_close(&pair);
}

static void a_stream_head_without_a_body_is_never_success(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open(&pair, f, START, STREAM);
    agent_answer(pair.agent, 200, "content-type: application/connect+json\n", true);
    TURN_UNTIL(f, pair.request.ended);
    assert_true(buf_has(&pair.request.body, "\"code\":\"unavailable\""));
    pair_close(&pair);
}

static void grpc_without_its_status_gets_one_that_fails(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open(&pair, f, LIST, "content-type: application/grpc\n" AUTH);
    agent_answer(pair.agent, 200, "content-type: application/grpc\n", false);
    agent_write(pair.agent, SLICE("\0\0\0\0\0"));
    agent_end(pair.agent, "");
    TURN_UNTIL(f, pair.request.ended);
    assert_true(buf_has(&pair.request.trailers, "grpc-status: 14\n"));
    pair_close(&pair);
}

static void grpc_web_without_its_trailers_gets_some_that_fail(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open(&pair, f, LIST, "content-type: application/grpc-web\n" AUTH);
    agent_answer(pair.agent, 200, "content-type: application/grpc-web\n", false);
    agent_write(pair.agent, SLICE("\0\0\0\0\0"));
    TURN_UNTIL(f, pair.request.body.len == 5);
    agent_lose_conns(f);
    TURN_UNTIL(f, pair.request.ended);
    assert_int_equal((unsigned char)buf_slice(&pair.request.body).ptr[5], 0x80);
    assert_true(buf_has(&pair.request.body, "grpc-status: 14\r\n"));
    pair_close(&pair);
}

static void an_agent_lost_before_its_head_is_an_answer(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open(&pair, f, LIST, UNARY);
    agent_lose_conns(f);
    TURN_UNTIL(f, pair.request.ended);
    assert_int_equal(pair.request.status, 503);
    assert_true(buf_has(&pair.request.head, "x-gateway-error: agent_lost\n"));
    assert_true(buf_has(&pair.request.head, "x-gateway-delivered: maybe\n"));
    assert_int_equal(f->call_count, 1);
    pair_close(&pair);
}

static void an_agent_reset_before_its_head_is_an_answer(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open(&pair, f, LIST, UNARY);
    agent_reset(pair.agent, RESET_INTERNAL);
    TURN_UNTIL(f, pair.request.ended);
    assert_int_equal(pair.request.status, 502);
    assert_true(buf_has(&pair.request.head, "x-gateway-error: agent_reset\n"));
    pair_close(&pair);
}

static void a_unary_answer_that_is_cut_is_reset(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open(&pair, f, LIST, UNARY);
    agent_answer(pair.agent, 200, "content-type: application/json\n", false);
    agent_write(pair.agent, SLICE("{\"pro"));
    TURN_UNTIL(f, pair.request.body.len == 5);
    agent_reset(pair.agent, RESET_CANCEL);
    TURN_UNTIL(f, pair.request.was_reset);
    assert_int_equal(pair.request.reason, RESET_CANCEL); /* as the agent said it */
    pair_close(&pair);
}

static void an_early_answer_ends_the_call_while_the_request_is_open(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    client_open(&client, f, false);
    request_send(&request, &client, LIST, UNARY, NULL);
    TURN_UNTIL(f, f->call_count == 1);
    agent_answer(&f->calls[0], 400, "content-type: application/json\n", false);
    agent_write(&f->calls[0], SLICE("{}"));
    agent_end(&f->calls[0], "");
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 400);
    TURN_UNTIL(f, proxy_call_count(f->proxy) == 0);
    request_close(&request);
    client_close(&client);
}

/* ---- the retry ---- */

static void a_refused_request_is_sent_once_more_with_all_its_bytes(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    f->agent_refuses = true;
    client_open(&client, f, false);
    request_send(&request, &client, LIST, UNARY, NULL);
    exchange_write(request.exchange, SLICE("{\"first\":1,"));
    TURN_UNTIL(f, f->call_count == 1);
    f->agent_refuses = false;
    exchange_write(request.exchange, SLICE("\"second\":2}"));
    exchange_end(request.exchange, NULL);
    TURN_UNTIL(f, f->call_count == 2 && f->calls[1].ended);
    assert_string_equal(text_of(&f->calls[1].body), "{\"first\":1,\"second\":2}");
    agent_answer(&f->calls[1], 200, "content-type: application/json\n", true);
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 200);
    assert_int_equal(counter_read(&proxy_counters(f->proxy)->retries), 1);
    request_close(&request);
    client_close(&client);
}

static void a_request_refused_twice_was_never_delivered(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    f->agent_refuses = true;
    client_open(&client, f, false);
    request_send(&request, &client, LIST, UNARY, "{}");
    TURN_UNTIL(f, request.ended);
    assert_int_equal(f->call_count, 2);
    assert_true(buf_has(&request.head, "x-gateway-error: agent_busy\n"));
    assert_true(buf_has(&request.head, "x-gateway-delivered: never\n"));
    request_close(&request);
    client_close(&client);
}

static void a_request_longer_than_what_is_kept_is_not_sent_again(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    char block[8192] = { 0 };

    client_open(&client, f, false);
    request_send(&request, &client, LIST, UNARY, NULL);
    TURN_UNTIL(f, f->call_count == 1);
    for (int i = 0; i < 20; i++)
        exchange_write(request.exchange, slice_of(block, sizeof(block)));
    TURN_UNTIL(f, f->calls[0].body.len == 20 * sizeof(block));
    agent_reset(&f->calls[0], RESET_REFUSED);
    TURN_UNTIL(f, request.ended);
    assert_int_equal(f->call_count, 1);
    request_close(&request);
    client_close(&client);
}

static void retries_stay_few_among_the_calls(void **state)
{
    struct fixture *f = *state;
    struct client client;

    f->agent_refuses = true;
    client_open(&client, f, false);
    for (int i = 0; i < 20; i++) {
        struct request request = { 0 };
        request_send(&request, &client, LIST, UNARY, "{}");
        TURN_UNTIL(f, request.ended);
        request_close(&request);
    }
    /* Five from the start, and one for each five calls. */
    assert_in_range(counter_read(&proxy_counters(f->proxy)->retries), 5, 9);
    client_close(&client);
}

/* ---- time ---- */

static void the_deadline_passes_verbatim_and_is_enforced_a_little_later(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open_stream(&pair, f, "connect-timeout-ms: 0100\n");
    assert_true(buf_has(&pair.agent->head, "connect-timeout-ms: 0100\n"));
    uint64_t before_ms = loop_clock(f->loop)->now_ms;
    expect_stream_end(f, &pair, "\"code\":\"deadline_exceeded\"");
    assert_in_range(loop_clock(f->loop)->now_ms - before_ms, 900, 2000);
    TURN_UNTIL(f, pair.agent->was_reset);
    pair_close(&pair);
}

static void the_grpc_deadline_is_enforced(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open(&pair, f, LIST, "content-type: application/grpc\ngrpc-timeout: 50m\n" AUTH);
    assert_true(buf_has(&pair.agent->head, "grpc-timeout: 50m\n"));
    TURN_UNTIL(f, pair.request.ended);
    assert_true(buf_has(&pair.request.head, "grpc-status: 4\n"));
    pair_close(&pair);
}

static void short_token(struct fixture *f, unsigned seconds)
{
    char claims[256];

    snprintf(
        claims, sizeof(claims),
        "\"exp\":%lld,\"sid\":\"ses_1\",\"cid\":\"cmp_1\",\"kind\":\"exec\",\"cap\":[\"process\"]",
        (long long)loop_clock(f->loop)->wall_ms / 1000 + seconds);
    buf_clear(&f->token);
    fixture_token(f, claims, &f->token);
}

static void an_open_stream_ends_when_its_token_expires(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    short_token(f, 2);
    pair_open_stream(&pair, f, "");
    expect_stream_end(f, &pair, "\"code\":\"unauthenticated\"");
    assert_true(buf_has(&pair.request.body, "token has expired"));
    pair_close(&pair);
}

static void expiry_can_be_allowed_for_open_streams(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    f->options.on_expiry = ON_EXPIRY_ALLOW;
    fixture_apply_options(f);
    short_token(f, 1);
    pair_open_stream(&pair, f, "");
    turn_for(f, 1500);
    assert_false(pair.request.ended);
    pair_close(&pair);
}

/* ---- changes ---- */

static void a_revoked_session_ends_its_open_streams(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open_stream(&pair, f, "");
    fake_store_set(f->store, RECORD_SESSION, "ses_1", "kind=exec;computer=cmp_1;revoked=1");
    expect_stream_end(f, &pair, "\"code\":\"unauthenticated\"");
    TURN_UNTIL(f, pair.agent->was_reset);
    pair_close(&pair);
}

static void a_deleted_session_ends_its_open_streams(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open_stream(&pair, f, "");
    fake_store_set(f->store, RECORD_SESSION, "ses_1", NULL);
    expect_stream_end(f, &pair, "\"code\":\"unauthenticated\"");
    pair_close(&pair);
}

static void revocation_waits_for_the_next_edge_of_the_stream(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open_stream(&pair, f, "");
    agent_write(pair.agent, SLICE("\0\0\0\0\4ab"));
    TURN_UNTIL(f, pair.request.body.len == 17 + 7);
    fake_store_set(f->store, RECORD_SESSION, "ses_1", NULL);
    turn_for(f, 50);
    agent_write(pair.agent, SLICE("cd\0\0\0\0\1e"));
    TURN_UNTIL(f, pair.request.ended || pair.request.was_reset);
    assert_true(pair.request.ended);
    assert_int_equal(buf_slice(&pair.request.body).ptr[17 + 9], ENVELOPE_END_STREAM);
    assert_true(buf_has(&pair.request.body, "unauthenticated"));
    pair_close(&pair);
}

static void revocation_does_not_wait_for_ever(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open_stream(&pair, f, "");
    agent_write(pair.agent, SLICE("\0\0\0\0\4ab"));
    TURN_UNTIL(f, pair.request.body.len == 17 + 7);
    fake_store_set(f->store, RECORD_SESSION, "ses_1", NULL);
    uint64_t before_ms = loop_clock(f->loop)->now_ms;
    TURN_UNTIL(f, pair.request.was_reset);
    assert_true(loop_clock(f->loop)->now_ms - before_ms < 1000);
    pair_close(&pair);
}

static void a_computer_that_stops_ends_its_streams(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open_stream(&pair, f, "");
    fixture_set_computer(f, "state=stopping;agent=127.0.0.1:1");
    expect_stream_end(f, &pair, "computer is not running");
    pair_close(&pair);
}

static void a_computer_that_boots_anew_ends_its_streams(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open_stream(&pair, f, "");
    memcpy(strstr(f->computer, "boot=b1"), "boot=b2", 7);
    fixture_set_computer(f, f->computer);
    expect_stream_end(f, &pair, "\"code\":\"unavailable\"");
    pair_close(&pair);
}

static void a_record_that_changes_in_other_ways_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct pair pair;
    char fields[300];

    pair_open_stream(&pair, f, "");
    snprintf(fields, sizeof(fields), "%s;owner=somebody", f->computer);
    fixture_set_computer(f, fields);
    turn_for(f, 50);
    assert_false(pair.request.ended || pair.request.was_reset);
    pair_close(&pair);
}

static void a_computer_found_after_it_moved_is_reached_where_it_is(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    fixture_set_computer(f, "state=running;agent=127.0.0.1:1;boot=b0"); /* nothing listens there */
    client_open(&client, f, false);
    request_send(&request, &client, LIST, UNARY, "{}");
    TURN_UNTIL(f, counter_read(&proxy_counters(f->proxy)->retries) == 1);
    fixture_set_computer(f, f->computer); /* in the pause before the second try */
    TURN_UNTIL(f, f->call_count == 1 && f->calls[0].ended);
    assert_string_equal(text_of(&f->calls[0].body), "{}");
    request_close(&request);
    client_close(&client);
}

static void the_proxy_ends_what_is_open_when_it_goes(void **state)
{
    struct fixture *f = *state;
    struct pair pair;

    pair_open_stream(&pair, f, "");
    proxy_destroy(&f->proxy);
    TURN_UNTIL(f, pair.request.was_reset);
    TURN_UNTIL(f, pair.agent->was_reset);
    pair_close(&pair);
    f->proxy = proxy_create(f->loop, &f->options, f->tokens, f->routes, f->upstreams, f->log);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_client_that_leaves_is_felt_by_the_agent_at_once),
        TEST(a_client_connection_that_breaks_cancels_all_its_calls),
        TEST(an_http1_client_that_closes_cancels_its_call),
        TEST(an_agent_lost_inside_a_message_breaks_an_http1_response),
        TEST(an_agent_lost_at_an_edge_ends_the_stream_with_unavailable),
        TEST(an_agent_lost_inside_a_message_resets_the_stream),
        TEST(a_clean_end_without_end_of_stream_is_never_success),
        TEST(an_end_inside_a_message_is_never_success),
        TEST(a_stream_head_without_a_body_is_never_success),
        TEST(grpc_without_its_status_gets_one_that_fails),
        TEST(grpc_web_without_its_trailers_gets_some_that_fail),
        TEST(an_agent_lost_before_its_head_is_an_answer),
        TEST(an_agent_reset_before_its_head_is_an_answer),
        TEST(a_unary_answer_that_is_cut_is_reset),
        TEST(an_early_answer_ends_the_call_while_the_request_is_open),
        TEST(a_refused_request_is_sent_once_more_with_all_its_bytes),
        TEST(a_request_refused_twice_was_never_delivered),
        TEST(a_request_longer_than_what_is_kept_is_not_sent_again),
        TEST(retries_stay_few_among_the_calls),
        TEST(the_deadline_passes_verbatim_and_is_enforced_a_little_later),
        TEST(the_grpc_deadline_is_enforced),
        TEST(an_open_stream_ends_when_its_token_expires),
        TEST(expiry_can_be_allowed_for_open_streams),
        TEST(a_revoked_session_ends_its_open_streams),
        TEST(a_deleted_session_ends_its_open_streams),
        TEST(revocation_waits_for_the_next_edge_of_the_stream),
        TEST(revocation_does_not_wait_for_ever),
        TEST(a_computer_that_stops_ends_its_streams),
        TEST(a_computer_that_boots_anew_ends_its_streams),
        TEST(a_record_that_changes_in_other_ways_changes_nothing),
        TEST(a_computer_found_after_it_moved_is_reached_where_it_is),
        TEST(the_proxy_ends_what_is_open_when_it_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
