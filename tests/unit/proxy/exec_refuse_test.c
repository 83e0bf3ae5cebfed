/* What the exec host refuses, and in which words: tokens, paths, limits, routes; each in the
 * protocol of the caller. */
#include "proxy_fixture.h"

#include <stdio.h>

#define AUTH "authorization: Bearer $T\n"
#define UNARY "content-type: application/json\n"
#define LIST "POST /process.Process/List"

struct refusal {
    const char *target, *fields;
    unsigned status;
    const char *error; /* X-Gateway-Error */
};

static void expect_refusal(struct fixture *f, struct client *client, const struct refusal *row)
{
    struct request request = { 0 };

    request_send(&request, client, row->target, row->fields, "{}");
    TURN_UNTIL(f, request.ended || request.was_reset);
    if (request.status != row->status ||
        (row->error != NULL && !buf_has(&request.head, row->error)))
        fail_msg("%s [%s] got %s", row->target, row->fields, text_of(&request.head));
    if (row->error != NULL)
        assert_true(buf_has(&request.head, "x-gateway-delivered: never\n"));
    assert_true(buf_has(&request.head, "x-request-id: "));
    request_close(&request);
}

static void expect_refusals(struct fixture *f, const struct refusal *rows, size_t count)
{
    struct client client;

    client_open(&client, f, false);
    for (size_t i = 0; i < count; i++)
        expect_refusal(f, &client, &rows[i]);
    assert_int_equal(f->call_count, 0);
    client_close(&client);
}

static void tokens_are_looked_for_in_three_places_and_judged(void **state)
{
    static const struct refusal rows[] = {
        { LIST, UNARY, 401, "x-gateway-error: token_missing\n" },
        { LIST, UNARY "authorization: Bearer x\n", 401, "x-gateway-error: token_malformed\n" },
        { LIST, UNARY "x-access-token: x\n", 401, "x-gateway-error: token_malformed\n" },
        { LIST "?access_token=x", UNARY, 401, "x-gateway-error: token_malformed\n" },
        /* the first place decides, whatever the others hold */
        { LIST, UNARY "authorization: Bearer x\nx-access-token: $T\n", 401, NULL },
        { LIST "?access_token=$T", UNARY "x-access-token: x\n", 401, NULL },
        { LIST, UNARY AUTH AUTH, 400, "x-gateway-error: token_duplicate\n" },
        { LIST, UNARY "x-access-token: $T\nx-access-token: $T\n", 400, "token_duplicate\n" },
        { LIST "?access_token=$T&access_token=$T", UNARY, 400, "token_duplicate\n" },
        { LIST, UNARY AUTH "x-computer-id: cmp_2\n", 403, "x-gateway-error: token_computer\n" },
        { LIST, UNARY AUTH "e2b-sandbox-id: cmp_2\n", 403, "x-gateway-error: token_computer\n" },
    };

    expect_refusals(*state, rows, sizeof(rows) / sizeof(rows[0]));
}

static void paths_methods_and_types_are_told_before_any_lookup(void **state)
{
    static const struct refusal rows[] = {
        { "POST /process.Process/Nothing", UNARY AUTH, 404, "x-gateway-error: path_unknown\n" },
        { "POST /process.Process%2fList", UNARY AUTH, 404, NULL },
        { "POST /process.Process/./List", UNARY AUTH, 404, NULL },
        { "POST /x/../process.Process/List", UNARY AUTH, 404, NULL },
        { "POST /process.Process/List%00", UNARY AUTH, 404, NULL },
        { "POST /process.Process\\List", UNARY AUTH, 404, NULL },
        { "PUT /process.Process/List", UNARY AUTH, 405, "allow: POST, OPTIONS\n" },
        { "GET /process.Process/List", AUTH, 405, "allow: POST, OPTIONS\n" },
        { "POST /health", UNARY AUTH, 405, "allow: GET, HEAD, OPTIONS\n" },
        { LIST, AUTH, 415, "accept-post: application/json, " },
        { LIST, "content-type: application/connect+json\n" AUTH, 415, NULL },
        { "POST /process.Process/StreamInput", UNARY AUTH, 415, NULL },
        { "POST /process.Process/Start", "content-type: application/proto\n" AUTH, 415, NULL },
        { LIST, UNARY AUTH "expect: wonders\n", 417, NULL },
        { LIST, UNARY AUTH "connect-timeout-ms: 12345678901\n", 400,
          "x-gateway-error: malformed\n" },
        { LIST, UNARY AUTH "connect-timeout-ms: soon\n", 400, "x-gateway-error: malformed\n" },
        { LIST, "authority: other.test\n" UNARY AUTH, 404, "x-gateway-error: host_unknown\n" },
    };
    struct fixture *f = *state;

    expect_refusals(f, rows, sizeof(rows) / sizeof(rows[0]));
    assert_int_equal(fake_store_read_count(f->store), 1); /* other.test might be published */
}

static void a_token_must_fit_kind_capability_and_time(void **state)
{
    static const struct {
        const char *claims;
        unsigned status;
        const char *error;
    } rows[] = {
        { "\"exp\":%lld,\"sid\":\"ses_1\",\"cid\":\"cmp_1\",\"kind\":\"exec\",\"cap\":[]", 403,
          "token_capability\n" },
        { "\"exp\":%lld,\"sid\":\"ses_1\",\"cid\":\"cmp_2\",\"kind\":\"exec\",\"cap\":["
          "\"process\"]",
          403, "token_computer\n" },
        { "\"exp\":%lld,\"sid\":\"ses_9\",\"cid\":\"cmp_1\",\"kind\":\"exec\",\"cap\":["
          "\"process\"]",
          401, "token_revoked\n" },
        { "\"exp\":1,\"iat\":%lld,\"sid\":\"ses_1\",\"cid\":\"cmp_1\",\"kind\":\"exec\",\"cap\":["
          "\"process\"]",
          401, "token_expired\n" },
    };
    struct fixture *f = *state;
    struct client client;
    char claims[256];

    client_open(&client, f, false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        long long time = loop_clock(f->loop)->wall_ms / 1000 + 100;
        snprintf(claims, sizeof(claims), rows[i].claims, i == 3 ? time - 200 : time);
        buf_clear(&f->token);
        fixture_token(f, claims, &f->token);
        struct refusal row = { LIST, UNARY AUTH, rows[i].status, rows[i].error };
        expect_refusal(f, &client, &row);
    }
    assert_int_equal(f->call_count, 0);
    client_close(&client);
}

static void one_error_in_every_protocol(void **state)
{
    static const struct {
        const char *target, *fields;
        unsigned status;
        const char *head, *body;
    } rows[] = {
        { LIST, UNARY, 401, "content-type: application/json\n",
          "{\"code\":\"unauthenticated\",\"message\":\"no token" },
        { LIST, UNARY, 401, "www-authenticate: Bearer realm=\"exec\"\n",
          "\"type\":\"google.rpc.ErrorInfo\"" },
        { "POST /process.Process/Start", "content-type: application/connect+json\n", 200,
          "content-type: application/connect+json\n", "{\"error\":{\"code\":\"unauthenticated\"" },
        { LIST, "content-type: application/grpc+json\n", 200, "grpc-status: 16\n", "" },
        { LIST, "content-type: application/grpc+json\n", 200,
          "content-type: application/grpc+json\n", "" },
        { LIST, "content-type: application/grpc-web\n", 200, "grpc-message: no token: send", "" },
        { "POST /process.Process/Start", UNARY, 401, "content-type: application/json\n",
          "{\"code\":\"unauthenticated\"" },
        { "GET /nowhere", "sec-fetch-mode: navigate\n", 404,
          "content-type: text/html; charset=utf-8\n", "<!doctype html>" },
        { "GET /nowhere", "accept: */*\n", 404, "content-type: application/json\n",
          "{\"code\":\"not_found\"" },
        { LIST, UNARY "origin: https://a.test\n", 401, "access-control-allow-origin: *\n", "" },
    };
    struct fixture *f = *state;
    struct client client;

    client_open(&client, f, false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct request request = { 0 };
        request_send(&request, &client, rows[i].target, rows[i].fields, "");
        TURN_UNTIL(f, request.ended);
        assert_int_equal(request.status, rows[i].status);
        if (!buf_has(&request.head, rows[i].head) ||
            (rows[i].body[0] != '\0' && !buf_has(&request.body, rows[i].body)))
            fail_msg("row %zu: %s%s", i, text_of(&request.head), text_of(&request.body));
        request_close(&request);
    }
    client_close(&client);
}

static void a_stream_error_is_one_end_of_stream_envelope(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    client_open(&client, f, true);
    request_send(&request, &client, "POST /process.Process/Start",
                 "content-type: application/connect+json\n", "\1");
    TURN_UNTIL(f, request.ended);
    const unsigned char *bytes = (const unsigned char *)buf_slice(&request.body).ptr;
    assert_int_equal(bytes[0], 2);
    assert_int_equal((size_t)bytes[1] << 24 | (size_t)bytes[2] << 16 | (size_t)bytes[3] << 8 |
                         bytes[4],
                     request.body.len - 5);
    request_close(&request);
    client_close(&client);
}

static void bare_json_on_a_stream_is_told_what_it_lacks(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    client_open(&client, f, false);
    request_send(&request, &client, "POST /process.Process/Start",
                 "content-type: application/connect+json\n" AUTH, "{\"process\":{}}");
    TURN_UNTIL(f, request.ended);
    assert_true(buf_has(&request.body, "invalid_argument"));
    assert_true(buf_has(&request.body, "5-byte prefix"));
    request_close(&request);
    client_close(&client);
}

static void computers_that_are_not_there_are_told_apart(void **state)
{
    static const struct {
        const char *fields;
        unsigned status;
        const char *error;
    } rows[] = {
        { NULL, 404, "x-gateway-error: computer_unknown\n" },
        { "state=deleted;agent=127.0.0.1:1", 404, "x-gateway-error: computer_unknown\n" },
        { "state=stopped;agent=127.0.0.1:1", 503, "retry-after: 2\n" },
        { "state=running;agent=10.1.2.3:1", 503, "x-gateway-error: route_refused\n" },
        { "state=running;agent=127.0.0.1:1;tls=on", 503, "x-gateway-error: route_refused\n" },
        { "state=running;agent=127.0.0.1:1;boot=b2", 503, "x-gateway-error: agent_unreachable\n" },
    };
    struct fixture *f = *state;
    struct client client;

    client_open(&client, f, false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct refusal row = { LIST, UNARY AUTH, rows[i].status, rows[i].error };
        fixture_set_computer(f, rows[i].fields);
        expect_refusal(f, &client, &row);
    }
    assert_int_equal(counter_read(&proxy_counters(f->proxy)->retries), 1); /* of the last one */
    client_close(&client);
}

static void a_session_that_says_no_is_obeyed(void **state)
{
    static const struct {
        const char *fields;
        unsigned status;
        const char *error;
    } rows[] = {
        { "kind=exec;computer=cmp_1;revoked=1", 401, "token_revoked\n" },
        { "kind=exec;computer=cmp_2", 403, "token_computer\n" },
        { "kind=browser;computer=cmp_1", 403, "token_kind\n" },
        { NULL, 401, "token_revoked\n" },
    };
    struct fixture *f = *state;
    struct client client;

    client_open(&client, f, false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct refusal row = { LIST, UNARY AUTH, rows[i].status, rows[i].error };
        fake_store_set(f->store, RECORD_SESSION, "ses_1", rows[i].fields);
        expect_refusal(f, &client, &row);
    }
    client_close(&client);
}

static void an_absent_session_is_fine_where_none_is_required(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    f->options.sessions_required = false;
    fixture_apply_options(f);
    fake_store_set(f->store, RECORD_SESSION, "ses_1", NULL);
    client_open(&client, f, false);
    request_send(&request, &client, LIST, UNARY AUTH, "{}");
    TURN_UNTIL(f, f->call_count == 1);
    request_close(&request);
    client_close(&client);
}

static void an_unreadable_registry_is_unavailable_never_not_found(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct refusal row = { LIST, UNARY AUTH, 503, "x-gateway-error: route_unavailable\n" };

    fake_store_fail(f->store, true);
    client_open(&client, f, false);
    expect_refusal(f, &client, &row);
    client_close(&client);
}

/* Beside one open request that of `fields` is refused; when that one has gone, it is let in. */
static void expect_one_at_a_time(struct fixture *f, const char *fields)
{
    struct client client;
    struct request first = { 0 }, again = { 0 };
    struct refusal row = { LIST, fields, 429, "retry-after: 1\n" };

    fixture_apply_options(f);
    client_open(&client, f, false);
    request_send(&first, &client, LIST, UNARY AUTH, NULL);
    TURN_UNTIL(f, f->call_count == 1);
    expect_refusal(f, &client, &row);
    request_close(&first);
    TURN_UNTIL(f, f->calls[0].was_reset);
    assert_int_equal(f->calls[0].reason, RESET_CANCEL);
    request_send(&again, &client, LIST, fields, NULL);
    TURN_UNTIL(f, f->call_count == 2);
    request_close(&again);
    client_close(&client);
}

static void the_limit_per_session_is_kept_and_given_back(void **state)
{
    struct fixture *f = *state;

    f->options.requests_per_session = 1;
    expect_one_at_a_time(f, UNARY AUTH);
}

/* Of whichever session: a session more is no way round it. */
static void the_limit_per_computer_is_kept_over_all_sessions_and_given_back(void **state)
{
    struct fixture *f = *state;
    struct buf fields = { 0 };
    char claims[256];

    f->options.requests_per_computer = 1;
    fake_store_set(f->store, RECORD_SESSION, "ses_2", "kind=exec;computer=cmp_1;user=usr_2");
    snprintf(claims, sizeof(claims),
             "\"exp\":%lld,\"sid\":\"ses_2\",\"cid\":\"cmp_1\",\"sub\":\"usr_2\",\"kind\":\"exec\","
             "\"cap\":[\"process\"]",
             (long long)loop_clock(f->loop)->wall_ms / 1000 + 3600);
    buf_append(&fields, SLICE(UNARY "authorization: Bearer "));
    fixture_token(f, claims, &fields);
    buf_append(&fields, SLICE("\n"));
    expect_one_at_a_time(f, buf_text(&fields));
    buf_deinit(&fields);
}

static void what_needs_no_computer_needs_no_token(void **state)
{
    static const struct {
        const char *target, *fields;
        unsigned status;
        const char *head, *body;
    } rows[] = {
        { "GET /health", "accept: */*\n", 200, "content-type: application/json\n",
          "{\"status\":\"ok\"}" },
        { "HEAD /health", "accept: */*\n", 200, "content-length: 16\n", "" },
        { "GET /", "accept: */*\n", 200, "content-type: application/json\n", "process.Process" },
        { "GET /", "accept: text/html\n", 200, "content-type: text/html", "<!doctype html>" },
        { "OPTIONS /process.Process/Start",
          "origin: https://a\naccess-control-request-method: POST\naccess-control-request-headers: "
          "x\n",
          204, "access-control-max-age: 7200\n", "" },
        { "OPTIONS /process.Process/Start", "accept: */*\n", 204, "allow: POST, OPTIONS\n", "" },
    };
    struct fixture *f = *state;
    struct client client;

    for (int is_h1 = 0; is_h1 < 2; is_h1++) {
        client_open(&client, f, is_h1 == 1);
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            struct request request = { 0 };
            request_send(&request, &client, rows[i].target, rows[i].fields, "");
            TURN_UNTIL(f, request.ended);
            assert_int_equal(request.status, rows[i].status);
            assert_true(buf_has(&request.head, rows[i].head));
            assert_true(rows[i].body[0] == '\0' ? request.body.len == 0
                                                : buf_has(&request.body, rows[i].body));
            request_close(&request);
            TURN_UNTIL(f, http_client_capacity(client.http) > 0);
        }
        client_close(&client);
    }
    assert_int_equal(fake_store_read_count(f->store), 0);
}

static void health_with_a_token_asks_the_computer(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request alive = { 0 }, dead = { 0 };

    client_open(&client, f, false);
    request_send(&alive, &client, "GET /health", AUTH, "");
    TURN_UNTIL(f, f->call_count == 1);
    assert_true(buf_has(&f->calls[0].head, "GET /health\n"));
    agent_answer(&f->calls[0], 204, "", true);
    TURN_UNTIL(f, alive.ended);
    assert_int_equal(alive.status, 204);
    fixture_set_computer(f, "state=stopped;agent=127.0.0.1:1");
    request_send(&dead, &client, "GET /health", AUTH, "");
    TURN_UNTIL(f, dead.ended);
    assert_int_equal(dead.status, 502);
    request_close(&alive);
    request_close(&dead);
    client_close(&client);
}

static void draining_turns_health_false_and_serves_what_still_comes(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct refusal call = { LIST, UNARY "authorization: Bearer x\n", 401,
                            "x-gateway-error: token_malformed\n" };
    struct request health = { 0 };

    proxy_drain(f->proxy);
    client_open(&client, f, false);
    expect_refusal(f, &client, &call); /* for its own fault, not for the drain */
    request_send(&health, &client, "GET /health", "accept: */*\n", "");
    TURN_UNTIL(f, health.ended);
    assert_int_equal(health.status, 503);
    request_close(&health);
    client_close(&client);
}

static void memory_pressure_refuses_new_calls(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct refusal call = { LIST, UNARY AUTH, 503, "x-gateway-error: overloaded\n" };

    proxy_set_overloaded(f->proxy, true);
    client_open(&client, f, false);
    expect_refusal(f, &client, &call);
    client_close(&client);
}

static void what_the_codec_refuses_looks_like_our_other_errors(void **state)
{
    struct fixture *f = *state;

    for (int is_h1 = 0; is_h1 < 2; is_h1++) {
        struct client client;
        struct request request = { 0 };
        char *target = mem_alloc(9100);
        memset(target, 'a', 9099);
        memcpy(target, "GET /", 5);
        target[9099] = '\0';
        client_open(&client, f, is_h1 == 1);
        request_send(&request, &client, target, "accept: */*\n", "");
        TURN_UNTIL(f, request.ended || request.was_reset);
        assert_int_equal(request.status, 414);
        assert_true(buf_has(&request.head, "x-gateway-error: target_too_long\n"));
        assert_true(buf_has(&request.head, "x-request-id: "));
        assert_true(buf_has(&request.body, "\"code\":\"invalid_argument\""));
        request_close(&request);
        client_close(&client);
        mem_free(target);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tokens_are_looked_for_in_three_places_and_judged),
        TEST(paths_methods_and_types_are_told_before_any_lookup),
        TEST(a_token_must_fit_kind_capability_and_time),
        TEST(one_error_in_every_protocol),
        TEST(a_stream_error_is_one_end_of_stream_envelope),
        TEST(bare_json_on_a_stream_is_told_what_it_lacks),
        TEST(computers_that_are_not_there_are_told_apart),
        TEST(a_session_that_says_no_is_obeyed),
        TEST(an_absent_session_is_fine_where_none_is_required),
        TEST(an_unreadable_registry_is_unavailable_never_not_found),
        TEST(the_limit_per_session_is_kept_and_given_back),
        TEST(the_limit_per_computer_is_kept_over_all_sessions_and_given_back),
        TEST(what_needs_no_computer_needs_no_token),
        TEST(health_with_a_token_asks_the_computer),
        TEST(what_the_codec_refuses_looks_like_our_other_errors),
        TEST(draining_turns_health_false_and_serves_what_still_comes),
        TEST(memory_pressure_refuses_new_calls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
