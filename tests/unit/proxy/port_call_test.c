/* Published ports through the whole proxy: the fixture's agent plays the app, reached directly, over
 * HTTP/1.1 or h2c. Token places, cookies and names have tables of their own (port_request_test.c,
 * port_names_test.c). */
#include "proxy_fixture.h"

#define PUBLIC "authority: pub--box.ports.test\n"
#define PRIVATE "authority: priv--box.ports.test\n"
#define COOKIE "cookie: agentcomputer_access_session=$T\n"
#define PAGE "accept: text/html\n"

static void sign(struct fixture *f, const char *audience, const char *claims, long long lives_s,
                 struct buf *into)
{
    struct buf text = { 0 };

    buf_printf(&text, "{\"iss\":\"test\",\"aud\":\"%s\",\"exp\":%lld,%s}", audience,
               (long long)loop_clock(f->loop)->wall_ms / 1000 + lives_s, claims);
    token_sign_by_hand(TOKEN_HS256, key_fixtures_path(&f->keys, "k1"),
                       SLICE("{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}"),
                       buf_slice(&text), into);
    buf_deinit(&text);
}

/* "$T" in requests is this one from now on. */
static void use_token(struct fixture *f, const char *claims, long long lives_s)
{
    buf_clear(&f->token);
    sign(f, "access", claims, lives_s, &f->token);
}

static const char good_claims[] =
    "\"sid\":\"ses_web\",\"cid\":\"cmp_1\",\"sub\":\"usr_1\",\"kind\":\"browser\"";

static void publish(struct fixture *f, const char *name, const char *more)
{
    char fields[256];

    snprintf(fields, sizeof(fields), "computer=cmp_1;port=%u;via=direct;%s",
             address_port(listener_address(f->agent_listener)), more);
    fake_store_set(f->store, RECORD_HOST, name, fields);
}

static int setup(void **state)
{
    static const char *const domains[] = { "ports.test" };
    static const char *const reserved[] = { "api" };
    int failed = fixture_setup(state);
    struct fixture *f = *state;

    f->options.ports.domains = domains;
    f->options.ports.domain_count = 1;
    f->options.ports.reserved_handles = reserved;
    f->options.ports.reserved_handle_count = 1;
    f->options.response_head_ms = 2000;
    fixture_apply_options(f);
    publish(f, "pub--box.ports.test", "visibility=public");
    publish(f, "priv--box.ports.test", "visibility=session");
    fake_store_set(f->store, RECORD_SESSION, "ses_web", "kind=browser;computer=cmp_1;user=usr_1");
    use_token(f, good_claims, 3600);
    return failed;
}

/* The app has answered request `index` with 200 and `fields`. */
static void app_answers(struct fixture *f, size_t index, const char *fields)
{
    TURN_UNTIL(f, f->call_count == index + 1 && f->calls[index].ended);
    agent_answer(&f->calls[index], 200, fields, false);
    agent_write(&f->calls[index], SLICE("app"));
    agent_end(&f->calls[index], "");
}

static void a_public_port_needs_nothing(struct fixture *f, bool client_h1)
{
    struct client client;
    struct request request = { 0 };

    client_open(&client, f, client_h1);
    request_send(&request, &client, "POST /a%2Fb//c?x=%00&token=theirs",
                 PUBLIC "authorization: Basic theirs\ncookie: a=1; b=2\nx-forwarded-for: 9.9.9.9\n"
                        "x-user-id: forged\nkeepalive-ping-interval: 7\n",
                 "hello");
    app_answers(f, 0,
                "set-cookie: agentcomputer_access_session=evil\nset-cookie: sid=1\n"
                "x-gateway-error: forged\nx-request-id: theirs\n");
    TURN_UNTIL(f, request.ended);
    struct buf *head = &f->calls[0].head;
    assert_true(buf_has(head, "POST /a%2Fb//c?x=%00&token=theirs\n"));
    assert_true(buf_has(head, "authorization: Basic theirs\n"));
    assert_true(buf_has(head, "cookie: a=1; b=2\n"));
    assert_true(buf_has(head, "keepalive-ping-interval: 7\n"));
    assert_true(buf_has(head, "x-forwarded-for: 127.0.0.1\n"));
    assert_true(buf_has(head, "x-forwarded-host: pub--box.ports.test\n"));
    assert_true(buf_has(head, "x-forwarded-port: 80\n"));
    assert_true(buf_has(head, "x-computer-id: cmp_1\n"));
    assert_false(buf_has(head, "forged"));
    assert_false(buf_has(head, "guest-secret"));
    assert_int_equal(request.status, 200);
    assert_true(buf_has(&request.body, "app"));
    assert_true(buf_has(&request.head, "set-cookie: sid=1\n"));
    assert_true(buf_has(&request.head, "x-request-id: theirs\n"));
    assert_false(buf_has(&request.head, "evil"));
    assert_false(buf_has(&request.head, "x-gateway-error"));
    request_close(&request);
    client_close(&client);
}

static void a_public_port_needs_nothing_over_h1(void **state)
{
    a_public_port_needs_nothing(*state, true);
}

static void a_public_port_needs_nothing_over_h2(void **state)
{
    struct fixture *f = *state;

    a_public_port_needs_nothing(f, false);
}

/* Whatever place the token was in, the app sees nothing of it. */
static void a_good_token_opens_from_every_place_and_leaves(void **state)
{
    static const struct {
        const char *target, *fields, *kept;
    } rows[] = {
        { "GET /p?q=1", PRIVATE COOKIE, "GET /p?q=1\n" },
        { "GET /p",
          PRIVATE "cookie: a=1; agentcomputer_access_session=old; "
                  "agentcomputer_access_session=$T; b=2\n",
          "cookie: a=1; b=2\n" },
        { "GET /p", PRIVATE "x-access-token: $T\nauthorization: Bearer theirs\n",
          "authorization: Bearer theirs\n" },
        { "GET /p?a=1&access_token=$T&b=2", PRIVATE, "GET /p?a=1&b=2\n" },
        { "GET /p?token=$T", PRIVATE, "GET /p\n" },
        { "POST /p?token=$T", PRIVATE PAGE, "POST /p\n" },
        { "GET /p?access_token=$T", PRIVATE "sec-fetch-mode: cors\n", "GET /p\n" },
        { "GET /p", PRIVATE "authorization: Bearer $T\n", "GET /p\n" },
        { "POST /p", PRIVATE COOKIE "x-access-token: $T\norigin: https://evil.example\n",
          "origin: https://evil.example\n" },
        { "POST /p", PRIVATE COOKIE "origin: http://priv--box.ports.test\n", "POST /p\n" },
    };
    struct fixture *f = *state;
    struct client client;

    client_open(&client, f, true);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct request request = { 0 };

        request_send(&request, &client, rows[i].target, rows[i].fields, "");
        app_answers(f, i, "");
        TURN_UNTIL(f, request.ended);
        assert_int_equal(request.status, 200);
        assert_true(buf_has(&f->calls[i].head, rows[i].kept));
        assert_true(buf_has(&f->calls[i].head, "x-session-id: ses_web\n"));
        assert_false(buf_has(&f->calls[i].head, "eyJ"));
        assert_false(buf_has(&f->calls[i].head, "agentcomputer"));
        request_close(&request);
    }
    client_close(&client);
}

static void our_token_does_not_reach_a_public_app_either(void **state)
{
    static const char *const fields[] = { PUBLIC COOKIE, PUBLIC "x-access-token: $T\n",
                                          PUBLIC "authorization: Bearer $T\n" };
    struct fixture *f = *state;
    struct client client;

    client_open(&client, f, false);
    for (size_t i = 0; i < 3; i++) {
        struct request request = { 0 };

        request_send(&request, &client, "GET /?token=$T&x=1", fields[i], "");
        app_answers(f, i, "");
        TURN_UNTIL(f, request.ended);
        assert_true(buf_has(&f->calls[i].head, "GET /?x=1\n"));
        assert_false(buf_has(&f->calls[i].head, "eyJ"));
        assert_false(buf_has(&f->calls[i].head, "x-session-id"));
        request_close(&request);
    }
    client_close(&client);
}

struct refusal {
    const char *claims; /* NULL: good */
    long long lives_s;
    const char *target, *fields;
    unsigned status;
    const char *error, *word;
};

static void refusals_say_what_clients_look_for(void **state)
{
    static const struct refusal rows[] = {
        { NULL, 9, "GET /", PRIVATE, 401, "token_missing", "auth_required" },
        { NULL, 9, "GET /", PRIVATE "authorization: Bearer theirs\n", 401, "token_missing",
          "auth_required" },
        { NULL, 9, "GET /", PRIVATE "x-access-token: rubbish\n", 401, "token_malformed",
          "auth_required" },
        { good_claims, -100, "GET /", PRIVATE COOKIE, 401, "token_expired", "auth_required" },
        { "\"sid\":\"gone\",\"cid\":\"cmp_1\",\"kind\":\"browser\"", 99, "GET /", PRIVATE COOKIE,
          401, "token_revoked", "auth_required" },
        { "\"sid\":\"ses_web\",\"cid\":\"cmp_2\",\"kind\":\"browser\"", 99, "GET /", PRIVATE COOKIE,
          403, "token_computer", "machine_unauthorized" },
        { "\"sid\":\"ses_web\",\"cid\":\"cmp_1\",\"kind\":\"browser\",\"port\":\"9\"", 99, "GET /",
          PRIVATE COOKIE, 403, "token_port", "machine_unauthorized" },
        { NULL, 9, "POST /", PRIVATE COOKIE "origin: https://evil.example\n", 403, "origin_foreign",
          "origin_foreign" },
        { NULL, 9, "GET /", PRIVATE "x-access-token: $T\nx-access-token: $T\n", 400,
          "token_duplicate", "token_duplicate" },
        { NULL, 9, "GET /", "authority: nobody--box.ports.test\n", 404, "host_unknown", "port" },
        { NULL, 9, "GET /", "authority: api.ports.test\n", 404, "host_unknown", "host" },
        { NULL, 9, "GET /", PRIVATE PAGE, 401, "token_missing", "auth_required" },
    };
    struct fixture *f = *state;
    struct client client;

    client_open(&client, f, false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct request request = { 0 };
        char error[64];

        use_token(f, rows[i].claims != NULL ? rows[i].claims : good_claims,
                  rows[i].claims != NULL ? rows[i].lives_s : 3600);
        request_send(&request, &client, rows[i].target, rows[i].fields, "");
        TURN_UNTIL(f, request.ended);
        snprintf(error, sizeof(error), "x-gateway-error: %s\n", rows[i].error);
        assert_int_equal(request.status, rows[i].status);
        assert_true(buf_has(&request.head, error));
        assert_true(buf_has(&request.body, rows[i].word));
        request_close(&request);
    }
    assert_int_equal(f->call_count, 0);
    client_close(&client);
}

static void a_token_of_one_port_opens_it_by_number_or_label(void **state)
{
    struct fixture *f = *state;
    struct client client;
    char claims[160];

    client_open(&client, f, false);
    for (size_t i = 0; i < 2; i++) {
        struct request request = { 0 };
        char number[16];

        snprintf(number, sizeof(number), "%u", address_port(listener_address(f->agent_listener)));
        snprintf(claims, sizeof(claims), "%s,\"port\":\"%s\"", good_claims,
                 i == 0 ? number : "priv");
        use_token(f, claims, 99);
        request_send(&request, &client, "GET /", PRIVATE COOKIE, "");
        app_answers(f, i, "");
        TURN_UNTIL(f, request.ended);
        assert_int_equal(request.status, 200);
        request_close(&request);
    }
    client_close(&client);
}

static void a_kind_that_the_host_does_not_take_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    publish(f, "priv--box.ports.test", "visibility=session;kinds=vnc");
    client_open(&client, f, false);
    request_send(&request, &client, "GET /", PRIVATE COOKIE, "");
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 403);
    assert_true(buf_has(&request.head, "x-gateway-error: token_kind\n"));
    request_close(&request);
    client_close(&client);
}

static void a_link_becomes_a_cookie_and_a_clean_url(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    client_open(&client, f, false);
    request_send(&request, &client, "GET //x/?a=1&access_token=$T&b",
                 PRIVATE PAGE "cookie: agentcomputer_access_session=of.an.older.one\n", "");
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 303);
    assert_true(buf_has(&request.head, "location: /.//x/?a=1&b\n"));
    assert_true(buf_has(&request.head, "set-cookie: agentcomputer_access_session=eyJ"));
    assert_true(buf_has(&request.head, "; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=3"));
    assert_true(buf_has(&request.head, "referrer-policy: no-referrer\n"));
    assert_true(buf_has(&request.head, "cache-control: no-store\n"));
    assert_int_equal(f->call_count, 0);
    request_close(&request);

    fake_store_set(f->store, RECORD_SESSION, "ses_web", "kind=browser;computer=cmp_1;revoked=1");
    request_send(&request, &client, "GET /?access_token=$T", PRIVATE PAGE, "");
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 401);
    assert_false(buf_has(&request.head, "set-cookie"));
    request_close(&request);
    client_close(&client);
}

static void a_navigation_without_access_goes_to_the_login_page(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    f->options.ports.login_url = "https://login.example/in?app=1";
    fixture_apply_options(f);
    client_open(&client, f, false);
    request_send(&request, &client, "GET /a?access_token=rubbish&b=1", PRIVATE PAGE, "");
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 302);
    assert_true(buf_has(&request.head,
                        "location: https://login.example/in?app=1&error=auth_required&return_to="
                        "http%3A%2F%2Fpriv--box.ports.test%2Fa%3Fb%3D1\n"));
    request_close(&request);
    request_send(&request, &client, "GET /", PRIVATE, "");
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 401);
    request_close(&request);
    client_close(&client);
}

static void a_preflight_reaches_the_app_without_token_and_body(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    client_open(&client, f, false);
    request_send(&request, &client, "OPTIONS /x",
                 PRIVATE COOKIE "origin: https://a.example\n"
                                "access-control-request-method: PUT\ncontent-length: 6\n",
                 "secret");
    app_answers(f, 0, "access-control-allow-origin: https://a.example\n");
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 200);
    assert_int_equal(f->calls[0].body.len, 0);
    assert_false(buf_has(&f->calls[0].head, "x-session-id"));
    assert_false(buf_has(&f->calls[0].head, "eyJ"));
    request_close(&request);
    client_close(&client);
}

static void an_expectation_goes_to_the_app_with_content_alone(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request requests[2] = { 0 };
    static const char *const bodies[] = { "", "hello" };

    publish(f, "pub--box.ports.test", "visibility=public;protocol=h2c"); /* shows what it is sent */
    client_open(&client, f, false);
    for (size_t i = 0; i < 2; i++) {
        request_send(&requests[i], &client, "PUT /x", PUBLIC "expect: 100-continue\n", bodies[i]);
        app_answers(f, i, "");
        TURN_UNTIL(f, requests[i].ended);
        assert_int_equal(buf_has(&f->calls[i].head, "expect: 100-continue\n"), i == 1);
        request_close(&requests[i]);
    }
    client_close(&client);
}

static void an_app_that_does_not_answer_is_504(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    f->options.response_head_ms = 50;
    fixture_apply_options(f);
    client_open(&client, f, false);
    request_send(&request, &client, "GET /", PUBLIC, "");
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 504);
    assert_true(buf_has(&request.head, "x-gateway-delivered: maybe\n"));
    request_close(&request);

    request_send(&request, &client, "POST /", PUBLIC, NULL); /* its own sender is slow: no fault */
    turn_for(f, 150);
    assert_int_equal(request.status, 0);
    request_close(&request);
    client_close(&client);
}

static void a_name_that_is_taken_back_ends_what_is_open(void **state)
{
    static const char *const now[] = { NULL, "visibility=session", "visibility=public" };
    struct fixture *f = *state;
    struct client client;

    client_open(&client, f, false);
    for (size_t i = 0; i < 3; i++) {
        struct request request = { 0 };

        publish(f, "pub--box.ports.test", "visibility=public");
        turn_for(f, 5);
        request_send(&request, &client, "GET /", PUBLIC, "");
        TURN_UNTIL(f, f->call_count == i + 1);
        agent_answer(&f->calls[i], 200, "content-type: text/event-stream\n", false);
        TURN_UNTIL(f, request.status == 200);
        if (now[i] == NULL)
            fake_store_set(f->store, RECORD_HOST, "pub--box.ports.test", NULL);
        else if (i == 1)
            publish(f, "pub--box.ports.test", now[i]);
        else
            fake_store_set(f->store, RECORD_HOST, "pub--box.ports.test",
                           "computer=cmp_1;port=1;via=direct;visibility=public");
        TURN_UNTIL(f, request.was_reset && f->calls[i].was_reset);
        request_close(&request);
    }
    client_close(&client);
}

static void a_closed_port_and_a_stopped_computer_are_told_apart(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    client_open(&client, f, false);
    fake_store_set(f->store, RECORD_HOST, "shut--box.ports.test",
                   "computer=cmp_1;port=1;via=direct;visibility=public");
    request_send(&request, &client, "GET /", "authority: shut--box.ports.test\n" PAGE, "");
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 502);
    assert_true(buf_has(&request.head, "x-gateway-error: port_closed\n"));
    assert_true(buf_has(&request.body, "Nothing is listening"));
    request_close(&request);

    fixture_set_computer(f, "state=stopped;agent=127.0.0.1:1");
    request_send(&request, &client, "GET /", PUBLIC PAGE, "");
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 503);
    assert_true(buf_has(&request.head, "retry-after: "));
    assert_true(buf_has(&request.body, "not running"));
    request_close(&request);
    client_close(&client);
}

static void a_name_that_is_not_published_is_the_exec_hosts_where_it_takes_all(void **state)
{
    static const char *const all[] = { "*" };
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };

    f->options.exec_hosts = all;
    fixture_apply_options(f);
    client_open(&client, f, false);
    request_send(&request, &client, "GET /health", "authority: elsewhere.test\n", "");
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 200);
    request_close(&request);
    request_send(&request, &client, "GET /health", "authority: nobody.ports.test\n", "");
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, 404);
    request_close(&request);
    client_close(&client);
}

static void the_log_has_the_port_and_no_secret(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    struct buf log = { 0 };

    client_open(&client, f, false);
    request_send(&request, &client, "GET /p?access_token=$T", PRIVATE COOKIE, "");
    app_answers(f, 0, "");
    TURN_UNTIL(f, request.ended);
    request_close(&request);
    client_close(&client);
    fixture_read_log(f, &log);
    assert_true(buf_has(&log, "\"kind\":\"port\""));
    assert_true(buf_has(&log, "\"computer\":\"cmp_1\",\"port\":"));
    assert_true(buf_has(&log, "\"path\":\"/p?...\""));
    assert_false(buf_has(&log, "eyJ"));
    buf_deinit(&log);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_public_port_needs_nothing_over_h1),
        TEST(a_public_port_needs_nothing_over_h2),
        TEST(a_good_token_opens_from_every_place_and_leaves),
        TEST(our_token_does_not_reach_a_public_app_either),
        TEST(refusals_say_what_clients_look_for),
        TEST(a_token_of_one_port_opens_it_by_number_or_label),
        TEST(a_kind_that_the_host_does_not_take_is_refused),
        TEST(a_link_becomes_a_cookie_and_a_clean_url),
        TEST(a_navigation_without_access_goes_to_the_login_page),
        TEST(a_preflight_reaches_the_app_without_token_and_body),
        TEST(an_expectation_goes_to_the_app_with_content_alone),
        TEST(an_app_that_does_not_answer_is_504),
        TEST(a_name_that_is_taken_back_ends_what_is_open),
        TEST(a_closed_port_and_a_stopped_computer_are_told_apart),
        TEST(a_name_that_is_not_published_is_the_exec_hosts_where_it_takes_all),
        TEST(the_log_has_the_port_and_no_secret),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
