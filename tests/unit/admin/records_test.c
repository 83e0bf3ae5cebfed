/* The registry's records against a real Redis; the token of a session against the verifier that the
 * gateway uses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#include "admin/records.h"
#include "auth/token.h"
#include "key_fixtures.h"
#include "redis_server.h"

enum { LIMIT_MS = 5000 };

struct fixture {
    struct redis_server server;
    struct key_fixtures keys;
    char key_file[128];
    struct redis_endpoint endpoint;
    struct loop *loop;
    struct records_options options;
    struct records *records;
    /* the last answer */
    unsigned http;
    json_t *answer;
    bool is_told;
};

static int setup(void **state)
{
    static const char *const domains[] = { "c.test" };
    struct fixture *f = calloc(1, sizeof(*f));
    char url[128];

    redis_server_create(&f->server, NULL, false);
    key_fixtures_init(&f->keys);
    key_fixtures_ec(&f->keys, "sign", "P-256");
    snprintf(f->key_file, sizeof(f->key_file), "%s", key_fixtures_path(&f->keys, "sign.pem"));
    snprintf(url, sizeof(url), "unix://%s", f->server.socket_path);
    assert_int_equal(redis_endpoint_parse(slice_from_string(url), NULL, &f->endpoint), STATUS_OK);
    assert_int_equal(loop_create(&f->loop), STATUS_OK);
    const struct route_store_redis_options store = {
        .endpoint = &f->endpoint,
        .prefix = "t:",
        .connect_timeout_ms = 2000,
        .reply_timeout_ms = 1000,
        .retry_min_ms = 10,
        .retry_max_ms = 100,
        .reply_bytes = 1 << 20,
        .reply_elements = 65536,
    };

    f->options = (struct records_options){
        .prefix = "t:",
        .issuer = "iss",
        .exec_audience = "exec",
        .access_audience = "access",
        .signing_key = { "k1", TOKEN_ES256, f->key_file },
        .ports_domains = domains,
        .ports_domain_count = 1,
        .connect_url = "https://exec.c.test",
    };
    f->records = records_create(f->loop, route_store_redis_create(f->loop, &store), &f->options);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    json_decref(f->answer);
    records_destroy(&f->records);
    loop_destroy(&f->loop);
    redis_endpoint_deinit(&f->endpoint);
    key_fixtures_deinit(&f->keys);
    redis_server_destroy(&f->server);
    free(f);
    return 0;
}

static void on_done(void *arg, unsigned http, struct slice body)
{
    struct fixture *f = arg;

    json_decref(f->answer);
    f->http = http;
    f->answer = json_loadb(body.ptr, body.len, 0, NULL);
    assert_non_null(f->answer);
    f->is_told = true;
}

static unsigned ask(struct fixture *f, const char *method, const char *path, const char *body)
{
    const struct records_request request = { slice_from_string(method), slice_from_string(path),
                                             slice_from_string(body) };
    uint64_t until_ms = loop_clock(f->loop)->now_ms + LIMIT_MS;

    f->is_told = false;
    (void)records_start(f->records, &request, on_done, f);
    assert_false(f->is_told); /* on a later turn */
    while (!f->is_told && loop_clock(f->loop)->now_ms < until_ms)
        loop_turn(f->loop, 20);
    assert_true(f->is_told);
    return f->http;
}

static const char *text(struct fixture *f, const char *object, const char *name)
{
    const char *value =
        json_string_value(json_object_get(json_object_get(f->answer, object), name));

    return value != NULL ? value : "";
}

static void put_computer(struct fixture *f)
{
    assert_int_equal(ask(f, "PUT", "cmp_1",
                         "{\"state\":\"running\",\"agent\":\"10.0.0.1:80\",\"handle\":\"box\"}"),
                     200);
}

static struct principal *verify(struct fixture *f, const char *token, enum token_use use)
{
    const struct token_options options = { .issuer = "iss",
                                           .exec_audience = "exec",
                                           .access_audience = "access",
                                           .leeway_ms = 0,
                                           .token_bytes = 8192,
                                           .cache_entries = 16 };
    const struct key_options key = { "k1", TOKEN_ES256, f->key_file };
    struct key_store *keys = NULL;
    struct principal *principal = NULL;
    struct clock clock;

    clock_refresh(&clock);
    assert_int_equal(key_store_create(&key, 1, NULL, &keys), STATUS_OK);
    struct token_verifier *verifier = token_verifier_create(&options, keys, &clock);

    assert_int_equal(token_verify(verifier, slice_from_string(token), use, &principal), STATUS_OK);
    token_verifier_destroy(&verifier);
    key_store_unref(&keys);
    return principal;
}

static void the_token_of_an_exec_session_is_good_for_its_computer(void **state)
{
    struct fixture *f = *state;

    put_computer(f);
    assert_int_equal(ask(f, "POST", "cmp_1/access-sessions", "{\"user\":\"u\",\"ttl\":\"60\"}"),
                     201);
    struct principal *principal = verify(f, text(f, "session", "connect_token"), TOKEN_USE_EXEC);

    assert_true(slice_equal(principal->computer_id, SLICE("cmp_1")));
    assert_true(slice_equal(principal->user_id, SLICE("u")));
    assert_true(slice_equal(principal->session_id, slice_from_string(text(f, "session", "id"))));
    principal_unref(&principal);
}

static void the_token_of_a_browser_session_opens_the_one_port(void **state)
{
    struct fixture *f = *state;

    put_computer(f);
    assert_int_equal(
        ask(f, "POST", "cmp_1/access-sessions", "{\"kind\":\"browser\",\"label\":\"web\"}"), 201);
    const char *url = text(f, "session", "access_url");
    static const char prefix[] = "https://web--box.c.test/?access_token=";

    assert_memory_equal(url, prefix, sizeof(prefix) - 1);
    struct principal *principal = verify(f, url + sizeof(prefix) - 1, TOKEN_USE_ACCESS);

    assert_true(slice_equal(principal->port, SLICE("web")));
    principal_unref(&principal);
}

static void no_two_sessions_have_the_same_id(void **state)
{
    struct fixture *f = *state;
    char first[64];

    put_computer(f);
    ask(f, "POST", "cmp_1/access-sessions", "");
    snprintf(first, sizeof(first), "%s", text(f, "session", "id"));
    ask(f, "POST", "cmp_1/access-sessions", "{}");
    assert_string_not_equal(first, text(f, "session", "id"));
}

static void without_a_signing_key_or_a_domain_the_answer_says_what_is_missing(void **state)
{
    struct fixture *f = *state;
    struct records_options poor = f->options;

    poor.signing_key.kid = NULL;
    poor.ports_domain_count = 0;
    put_computer(f);
    records_set_options(f->records, &poor);
    assert_int_equal(ask(f, "POST", "cmp_1/access-sessions", "{}"), 409);
    assert_non_null(
        strstr(json_string_value(json_object_get(f->answer, "message")), "admin.signing_key"));
    assert_int_equal(ask(f, "POST", "cmp_1/ports", "{\"port\":80}"), 409);
    assert_non_null(
        strstr(json_string_value(json_object_get(f->answer, "message")), "ports.domain"));
}

static void without_redis_everything_is_refused(void **state)
{
    struct fixture *f = *state;
    struct records *real = f->records;

    f->records = records_create(f->loop, NULL, &f->options);
    assert_int_equal(ask(f, "GET", "cmp_1", ""), 409);
    assert_int_equal(ask(f, "POST", "cmp_1/ports", "{\"port\":80}"), 409);
    records_destroy(&f->records);
    f->records = real;
}

static void who_has_gone_is_told_nothing(void **state)
{
    struct fixture *f = *state;
    const struct records_request request = { SLICE("GET"), SLICE("cmp_1"), SLICE("") };

    f->is_told = false;
    records_forget(records_start(f->records, &request, on_done, f));
    for (int i = 0; i < 20; i++)
        loop_turn(f->loop, 10);
    assert_false(f->is_told);
}

static void giving_up_answers_at_once(void **state)
{
    struct fixture *f = *state;
    const struct records_request request = { SLICE("GET"), SLICE("cmp_1"), SLICE("") };

    f->is_told = false;
    (void)records_start(f->records, &request, on_done, f);
    records_give_up(f->records);
    assert_true(f->is_told);
    assert_int_equal(f->http, 503);
}

static void jobs_that_are_open_at_the_end_are_freed(void **state)
{
    struct fixture *f = *state;
    const struct records_request request = { SLICE("PUT"), SLICE("cmp_1"),
                                             SLICE("{\"state\":\"stopped\"}") };

    f->is_told = false;
    (void)records_start(f->records, &request, on_done, f);
    records_destroy(&f->records); /* the sanitizer looks after the rest */
    assert_false(f->is_told);
}

#define ON_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_FIXTURE(the_token_of_an_exec_session_is_good_for_its_computer),
        ON_FIXTURE(the_token_of_a_browser_session_opens_the_one_port),
        ON_FIXTURE(no_two_sessions_have_the_same_id),
        ON_FIXTURE(without_a_signing_key_or_a_domain_the_answer_says_what_is_missing),
        ON_FIXTURE(without_redis_everything_is_refused),
        ON_FIXTURE(who_has_gone_is_told_nothing),
        ON_FIXTURE(giving_up_answers_at_once),
        ON_FIXTURE(jobs_that_are_open_at_the_end_are_freed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
