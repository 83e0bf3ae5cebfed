/* A table of attacks and mistakes, each with the outcome it must get; then rotation and the cache
 * under a fake clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "auth/token.h"
#include "base/base64.h"
#include "key_fixtures.h"

enum { NOW_S = 1800000000 };

static struct key_fixtures keys;

struct fixture {
    struct clock clock;
    struct key_store *store;
    struct token_verifier *verifier;
};

static int make_keys(void **state)
{
    (void)state;
    key_fixtures_init(&keys);
    key_fixtures_rsa(&keys, "rsa", 2048);
    key_fixtures_rsa(&keys, "other_rsa", 2048);
    key_fixtures_ec(&keys, "p256", "P-256");
    key_fixtures_ec(&keys, "p384", "P-384");
    key_fixtures_file(&keys, "secret", SLICE("0123456789abcdef0123456789abcdef\n"));
    key_fixtures_file(&keys, "new_secret", SLICE("fedcba9876543210fedcba9876543210\n"));
    key_fixtures_file(&keys, "empty", SLICE(""));
    return 0;
}

static int remove_keys(void **state)
{
    (void)state;
    key_fixtures_deinit(&keys);
    return 0;
}

static struct key_store *store_of(const struct key_options *options, size_t count)
{
    struct key_store *store = NULL;

    assert_int_equal(key_store_create(options, count, NULL, &store), STATUS_OK);
    return store;
}

static int setup(void **state)
{
    static struct fixture f;
    const struct key_options options[] = {
        { "hs", TOKEN_HS256, key_fixtures_path(&keys, "secret") },
        { "rs", TOKEN_RS256, key_fixtures_path(&keys, "rsa.pub.pem") },
        { "es", TOKEN_ES256, key_fixtures_path(&keys, "p256.pub.pem") },
    };
    const struct token_options token_options = {
        .issuer = "https://control.example",
        .exec_audience = "exec",
        .access_audience = "access",
        .leeway_ms = 30000,
        .token_bytes = 8192,
        .cache_entries = 100,
    };

    f = (struct fixture){ .clock = { .wall_ms = (int64_t)NOW_S * 1000 } };
    f.store = store_of(options, 3);
    f.verifier = token_verifier_create(&token_options, f.store, &f.clock);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    token_verifier_destroy(&f->verifier);
    token_verifier_destroy(&f->verifier); /* already NULL */
    key_store_unref(&f->store);
    return 0;
}

static enum status verify(struct fixture *f, struct slice token, enum token_use use)
{
    struct principal *principal = NULL;
    enum status status = token_verify(f->verifier, token, use, &principal);

    assert_true((status == STATUS_OK) == (principal != NULL));
    principal_unref(&principal);
    return status;
}

/* A token whose `claims` may hold one %lld: now. */
static struct buf claims_token(const char *claims, long long time_s)
{
    struct buf text = { 0 };
    struct buf token = { 0 };
    char from[64];
    const char *marker = strstr(claims, "%T");

    if (marker != NULL) {
        snprintf(from, sizeof(from), "%lld", time_s);
        buf_append(&text, slice_of(claims, (size_t)(marker - claims)));
        buf_append(&text, slice_from_string(from));
        claims = marker + 2;
    }
    buf_append(&text, slice_from_string(claims));
    token_sign_by_hand(TOKEN_HS256, key_fixtures_path(&keys, "secret"),
                       SLICE("{\"alg\":\"HS256\",\"kid\":\"hs\"}"), buf_slice(&text), &token);
    buf_deinit(&text);
    return token;
}

static enum status verify_claims(struct fixture *f, const char *claims, long long time_s,
                                 enum token_use use)
{
    struct buf token = claims_token(claims, time_s);
    enum status status = verify(f, buf_slice(&token), use);

    buf_deinit(&token);
    return status;
}

#define ISS "\"iss\":\"https://control.example\""
#define IDS "\"sid\":\"ses_1\",\"cid\":\"cmp_1\",\"sub\":\"usr_1\""
#define GOOD ISS ",\"aud\":\"exec\"," IDS ",\"kind\":\"exec\",\"cap\":[\"process\"]"
#define EXP "\"exp\":1800003600"

static void a_good_token_names_who_is_asking(void **state)
{
    struct fixture *f = *state;
    struct buf token = claims_token("{" GOOD "," EXP "}", 0);
    struct principal *who = NULL;

    assert_int_equal(token_verify(f->verifier, buf_slice(&token), TOKEN_USE_EXEC, &who), STATUS_OK);
    assert_true(slice_equal(who->session_id, SLICE("ses_1")));
    assert_true(slice_equal(who->computer_id, SLICE("cmp_1")));
    assert_true(slice_equal(who->user_id, SLICE("usr_1")));
    assert_int_equal(who->port.len, 0);
    assert_int_equal(who->kind, PRINCIPAL_EXEC);
    assert_int_equal(who->capabilities, CAPABILITY_PROCESS);
    assert_true(who->expires_wall_ms == 1800003600000);
    principal_unref(&who);
    buf_deinit(&token);
}

static void an_access_token_may_open_one_port(void **state)
{
    struct fixture *f = *state;
    static const char *const rows[][2] = { { "8080", "8080" },
                                           { "\"8080\"", "8080" },
                                           { "\"web-1\"", "web-1" } };

    for (size_t i = 0; i < 3; i++) {
        char claims[512];
        struct principal *who = NULL;
        snprintf(claims, sizeof(claims),
                 "{" ISS ",\"aud\":[\"other\",\"access\"]," IDS ",\"kind\":\"browser\"," EXP
                 ",\"port\":%s}",
                 rows[i][0]);
        struct buf token = claims_token(claims, 0);
        assert_int_equal(token_verify(f->verifier, buf_slice(&token), TOKEN_USE_ACCESS, &who),
                         STATUS_OK);
        assert_true(slice_equal(who->port, slice_from_string(rows[i][1])));
        assert_int_equal(who->kind, PRINCIPAL_BROWSER);
        assert_int_equal(who->capabilities, 0);
        principal_unref(&who);
        assert_int_equal(verify(f, buf_slice(&token), TOKEN_USE_EXEC), STATUS_TOKEN_AUDIENCE);
        buf_deinit(&token);
    }
}

static void claims_get_the_outcome_of_this_table(void **state)
{
    static const struct {
        const char *claims;
        enum status expected;
    } rows[] = {
        { "{" GOOD "," EXP "}", STATUS_OK },
        { "{" GOOD ",\"exp\":1800003600.0}", STATUS_OK },
        { "{" GOOD ",\"exp\":18000036e2}", STATUS_OK },
        { "{" GOOD "," EXP ",\"extra\":{\"a\":[1,null]}}", STATUS_OK },
        /* who made it, for whom */
        { "{\"aud\":\"exec\"," IDS ",\"kind\":\"exec\"," EXP "}", STATUS_TOKEN_ISSUER },
        { "{\"iss\":\"https://control.example/\",\"aud\":\"exec\"," IDS "," EXP "}",
          STATUS_TOKEN_ISSUER },
        { "{\"iss\":\"HTTPS://control.example\",\"aud\":\"exec\"," IDS "," EXP "}",
          STATUS_TOKEN_ISSUER },
        { "{\"iss\":[\"https://control.example\"],\"aud\":\"exec\"," EXP "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS "," IDS ",\"kind\":\"exec\"," EXP "}", STATUS_TOKEN_AUDIENCE },
        { "{" ISS ",\"aud\":\"exe\"," IDS ",\"kind\":\"exec\"," EXP "}", STATUS_TOKEN_AUDIENCE },
        { "{" ISS ",\"aud\":\"executive\"," IDS ",\"kind\":\"exec\"," EXP "}",
          STATUS_TOKEN_AUDIENCE },
        { "{" ISS ",\"aud\":[]," IDS ",\"kind\":\"exec\"," EXP "}", STATUS_TOKEN_AUDIENCE },
        { "{" ISS ",\"aud\":[\"access\"]," IDS ",\"kind\":\"exec\"," EXP "}",
          STATUS_TOKEN_AUDIENCE },
        { "{" ISS ",\"aud\":[1,\"exec\"]," IDS ",\"kind\":\"exec\"," EXP "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS ",\"aud\":{\"exec\":1}," IDS ",\"kind\":\"exec\"," EXP "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS ",\"aud\":null," IDS ",\"kind\":\"exec\"," EXP "}", STATUS_TOKEN_MALFORMED },
        /* kind and capabilities */
        { "{" ISS ",\"aud\":\"exec\"," IDS "," EXP "}", STATUS_TOKEN_KIND },
        { "{" ISS ",\"aud\":\"exec\"," IDS ",\"kind\":\"browser\"," EXP "}", STATUS_TOKEN_KIND },
        { "{" ISS ",\"aud\":\"exec\"," IDS ",\"kind\":\"Exec\"," EXP "}", STATUS_TOKEN_KIND },
        { "{" ISS ",\"aud\":\"exec\"," IDS ",\"kind\":1," EXP "}", STATUS_TOKEN_MALFORMED },
        { "{" ISS ",\"aud\":\"exec\"," IDS ",\"kind\":\"exec\",\"cap\":\"process\"," EXP "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS ",\"aud\":\"exec\"," IDS ",\"kind\":\"exec\",\"cap\":[1]," EXP "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS ",\"aud\":\"exec\"," IDS ",\"kind\":\"exec\",\"cap\":[\"later\"]," EXP "}",
          STATUS_OK },
        /* ids become Redis keys and header values */
        { "{" ISS ",\"aud\":\"exec\",\"cid\":\"c\",\"kind\":\"exec\"," EXP "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS ",\"aud\":\"exec\",\"sid\":\"s\",\"kind\":\"exec\"," EXP "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS ",\"aud\":\"exec\",\"sid\":\"\",\"cid\":\"c\",\"kind\":\"exec\"," EXP "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS ",\"aud\":\"exec\",\"sid\":\"a}b\",\"cid\":\"c\",\"kind\":\"exec\"," EXP "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS ",\"aud\":\"exec\",\"sid\":\"a\\r\\nb\",\"cid\":\"c\",\"kind\":\"exec\"," EXP "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS ",\"aud\":\"exec\",\"sid\":\"a\\u0000b\",\"cid\":\"c\",\"kind\":\"exec\"," EXP
          "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS ",\"aud\":\"exec\",\"sid\":\"a b\",\"cid\":\"c\",\"kind\":\"exec\"," EXP "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS ",\"aud\":\"exec\",\"sid\":\"\xc3\xa9\",\"cid\":\"c\",\"kind\":\"exec\"," EXP "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS ",\"aud\":\"exec\",\"sid\":7,\"cid\":\"c\",\"kind\":\"exec\"," EXP "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS ",\"aud\":\"exec\",\"sid\":\"A.b_c:d-9\",\"cid\":\"c\",\"kind\":\"exec\"," EXP
          "}",
          STATUS_OK },
        { "{" ISS
          ",\"aud\":\"exec\",\"sid\":\"s\",\"cid\":\"c\",\"sub\":\"a\\nb\",\"kind\":\"exec\"," EXP
          "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS
          ",\"aud\":\"exec\",\"sid\":\"s\",\"cid\":\"c\",\"sub\":\" a\",\"kind\":\"exec\"," EXP "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS
          ",\"aud\":\"exec\",\"sid\":\"s\",\"cid\":\"c\",\"sub\":null,\"kind\":\"exec\"," EXP "}",
          STATUS_TOKEN_MALFORMED },
        { "{" ISS ",\"aud\":\"exec\",\"sid\":\"s\",\"cid\":\"c\",\"sub\":\"auth0|a "
          "b@c.d\",\"kind\":\"exec\"," EXP "}",
          STATUS_OK },
        /* ports */
        { "{" GOOD "," EXP ",\"port\":null}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP ",\"port\":\"\"}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP ",\"port\":0}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP ",\"port\":-1}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP ",\"port\":65536}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP ",\"port\":\"080\"}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP ",\"port\":\"a/b\"}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP ",\"port\":80.5}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP ",\"port\":[80]}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP ",\"port\":\"-a\"}", STATUS_TOKEN_MALFORMED },
        /* times of the wrong type or size */
        { "{" GOOD "}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD ",\"exp\":\"1800003600\"}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD ",\"exp\":1800003600.5}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD ",\"exp\":-1}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD ",\"exp\":null}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD ",\"exp\":true}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD ",\"exp\":9223372036854775807}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD ",\"exp\":9223372036854775808}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD ",\"exp\":1e300}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD ",\"exp\":1e999}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD ",\"exp\":0}", STATUS_TOKEN_EXPIRED },
        { "{" GOOD "," EXP ",\"nbf\":\"0\"}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP ",\"iat\":[]}", STATUS_TOKEN_MALFORMED },
        /* JSON tricks */
        { "{" GOOD "," EXP "," EXP "}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP ",\"c\\u0069d\":\"cmp_2\"}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP ",\"a\":{\"b\":1,\"b\":2}}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP ",\"a\\u0000b\":1}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP "} ", STATUS_OK },
        { "{" GOOD "," EXP "}x", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP "}{}", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP ",}", STATUS_TOKEN_MALFORMED },
        { "[{" GOOD "," EXP "}]", STATUS_TOKEN_MALFORMED },
        { "\"text\"", STATUS_TOKEN_MALFORMED },
        { "null", STATUS_TOKEN_MALFORMED },
        { "", STATUS_TOKEN_MALFORMED },
        { "{" GOOD "," EXP ",\"a\":\"\xff\"}", STATUS_TOKEN_MALFORMED },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        enum status status = verify_claims(*state, rows[i].claims, 0, TOKEN_USE_EXEC);
        if (status != rows[i].expected)
            fail_msg("%s: %s, not %s", rows[i].claims, status_name(status),
                     status_name(rows[i].expected));
    }
}

static void long_ids_are_refused(void **state)
{
    static const struct {
        const char *claim;
        size_t len;
        enum status expected;
    } rows[] = { { "sid", 128, STATUS_OK }, { "sid", 129, STATUS_TOKEN_MALFORMED },
                 { "cid", 128, STATUS_OK }, { "cid", 129, STATUS_TOKEN_MALFORMED },
                 { "sub", 256, STATUS_OK }, { "sub", 257, STATUS_TOKEN_MALFORMED } };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char long_id[300];
        char claims[1024];
        bool is_sid = strcmp(rows[i].claim, "sid") == 0;
        bool is_cid = strcmp(rows[i].claim, "cid") == 0;
        memset(long_id, 'a', rows[i].len);
        long_id[rows[i].len] = '\0';
        snprintf(claims, sizeof(claims),
                 "{" ISS ",\"aud\":\"exec\",\"kind\":\"exec\"," EXP
                 ",\"sid\":\"%s\",\"cid\":\"%s\",\"sub\":\"%s\"}",
                 is_sid ? long_id : "s", is_cid ? long_id : "c", is_sid || is_cid ? "" : long_id);
        assert_int_equal(verify_claims(*state, claims, 0, TOKEN_USE_EXEC), rows[i].expected);
    }
}

static void times_are_checked_with_thirty_seconds_of_leeway(void **state)
{
    static const struct {
        const char *claims;
        int offset_s;
        enum status expected;
    } rows[] = {
        { "{" GOOD ",\"exp\":%T}", 1, STATUS_OK },
        { "{" GOOD ",\"exp\":%T}", -29, STATUS_OK },
        { "{" GOOD ",\"exp\":%T}", -30, STATUS_TOKEN_EXPIRED },
        { "{" GOOD ",\"exp\":%T}", -31, STATUS_TOKEN_EXPIRED },
        { "{" GOOD "," EXP ",\"nbf\":%T}", 0, STATUS_OK },
        { "{" GOOD "," EXP ",\"nbf\":%T}", 30, STATUS_OK },
        { "{" GOOD "," EXP ",\"nbf\":%T}", 31, STATUS_TOKEN_NOT_YET_VALID },
        { "{" GOOD "," EXP ",\"iat\":%T}", 30, STATUS_OK },
        { "{" GOOD "," EXP ",\"iat\":%T}", 31, STATUS_TOKEN_NOT_YET_VALID },
        { "{" GOOD "," EXP ",\"nbf\":1,\"iat\":%T}", 31, STATUS_TOKEN_NOT_YET_VALID },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_int_equal(
            verify_claims(*state, rows[i].claims, NOW_S + rows[i].offset_s, TOKEN_USE_EXEC),
            rows[i].expected);
}

static void headers_get_the_outcome_of_this_table(void **state)
{
    static const struct {
        const char *header;
        enum token_algorithm signed_as;
        const char *key;
        enum status expected;
    } rows[] = {
        { "{\"alg\":\"HS256\",\"kid\":\"hs\",\"typ\":\"JWT\"}", TOKEN_HS256, "secret", STATUS_OK },
        { "{\"kid\":\"rs\",\"alg\":\"RS256\"}", TOKEN_RS256, "rsa.pem", STATUS_OK },
        { "{\"alg\":\"ES256\",\"kid\":\"es\"}", TOKEN_ES256, "p256.pem", STATUS_OK },
        /* algorithm */
        { "{\"alg\":\"none\",\"kid\":\"hs\"}", TOKEN_HS256, "secret", STATUS_TOKEN_ALGORITHM },
        { "{\"alg\":\"None\",\"kid\":\"hs\"}", TOKEN_HS256, "secret", STATUS_TOKEN_ALGORITHM },
        { "{\"alg\":\"\",\"kid\":\"hs\"}", TOKEN_HS256, "secret", STATUS_TOKEN_ALGORITHM },
        { "{\"kid\":\"hs\"}", TOKEN_HS256, "secret", STATUS_TOKEN_ALGORITHM },
        { "{\"alg\":\"hs256\",\"kid\":\"hs\"}", TOKEN_HS256, "secret", STATUS_TOKEN_ALGORITHM },
        { "{\"alg\":\"HS256 \",\"kid\":\"hs\"}", TOKEN_HS256, "secret", STATUS_TOKEN_ALGORITHM },
        { "{\"alg\":\"HS512\",\"kid\":\"hs\"}", TOKEN_HS512, "secret", STATUS_TOKEN_ALGORITHM },
        { "{\"alg\":\"HS256\",\"kid\":\"rs\"}", TOKEN_HS256, "rsa.pub.pem",
          STATUS_TOKEN_ALGORITHM },
        { "{\"alg\":\"HS256\",\"kid\":\"es\"}", TOKEN_HS256, "p256.pub.pem",
          STATUS_TOKEN_ALGORITHM },
        { "{\"alg\":\"HS256\",\"kid\":\"hs\"}", TOKEN_HS256, "rsa.pub.pem",
          STATUS_TOKEN_SIGNATURE },
        { "{\"alg\":\"HS256\",\"kid\":\"hs\"}", TOKEN_HS256, "empty", STATUS_TOKEN_SIGNATURE },
        { "{\"alg\":[\"HS256\"],\"kid\":\"hs\"}", TOKEN_HS256, "secret", STATUS_TOKEN_MALFORMED },
        { "{\"alg\":\"ES384\",\"kid\":\"es\"}", TOKEN_ES384, "p384.pem", STATUS_TOKEN_ALGORITHM },
        { "{\"alg\":\"ES256\",\"kid\":\"es\"}", TOKEN_ES256, "p384.pem", STATUS_TOKEN_SIGNATURE },
        { "{\"alg\":\"RS256\",\"kid\":\"rs\"}", TOKEN_RS256, "other_rsa.pem",
          STATUS_TOKEN_SIGNATURE },
        { "{\"alg\":\"RS256\",\"kid\":\"rs\"}", TOKEN_RS512, "rsa.pem", STATUS_TOKEN_SIGNATURE },
        /* key */
        { "{\"alg\":\"HS256\"}", TOKEN_HS256, "secret", STATUS_TOKEN_KEY_UNKNOWN },
        { "{\"alg\":\"HS256\",\"kid\":\"\"}", TOKEN_HS256, "secret", STATUS_TOKEN_KEY_UNKNOWN },
        { "{\"alg\":\"HS256\",\"kid\":\"HS\"}", TOKEN_HS256, "secret", STATUS_TOKEN_KEY_UNKNOWN },
        { "{\"alg\":\"HS256\",\"kid\":\"../../dev/null\"}", TOKEN_HS256, "empty",
          STATUS_TOKEN_KEY_UNKNOWN },
        { "{\"alg\":\"HS256\",\"kid\":\"x' OR 'a'='a\"}", TOKEN_HS256, "secret",
          STATUS_TOKEN_KEY_UNKNOWN },
        { "{\"alg\":\"HS256\",\"kid\":null}", TOKEN_HS256, "secret", STATUS_TOKEN_MALFORMED },
        { "{\"alg\":\"HS256\",\"kid\":0}", TOKEN_HS256, "secret", STATUS_TOKEN_MALFORMED },
        { "{\"alg\":\"HS256\",\"kid\":\"hs\\u0000x\"}", TOKEN_HS256, "secret",
          STATUS_TOKEN_MALFORMED },
        /* keys brought along, and extensions */
        { "{\"alg\":\"HS256\",\"kid\":\"hs\",\"jku\":\"https://evil\"}", TOKEN_HS256, "secret",
          STATUS_TOKEN_MALFORMED },
        { "{\"alg\":\"HS256\",\"kid\":\"hs\",\"jwk\":{\"kty\":\"oct\"}}", TOKEN_HS256, "secret",
          STATUS_TOKEN_MALFORMED },
        { "{\"alg\":\"HS256\",\"kid\":\"hs\",\"x5u\":\"https://evil\"}", TOKEN_HS256, "secret",
          STATUS_TOKEN_MALFORMED },
        { "{\"alg\":\"HS256\",\"kid\":\"hs\",\"x5c\":[]}", TOKEN_HS256, "secret",
          STATUS_TOKEN_MALFORMED },
        { "{\"alg\":\"HS256\",\"kid\":\"hs\",\"crit\":[\"exp\"]}", TOKEN_HS256, "secret",
          STATUS_TOKEN_MALFORMED },
        { "{\"alg\":\"HS256\",\"kid\":\"hs\",\"crit\":null}", TOKEN_HS256, "secret",
          STATUS_TOKEN_MALFORMED },
        { "{\"alg\":\"HS256\",\"kid\":\"hs\",\"b64\":false}", TOKEN_HS256, "secret",
          STATUS_TOKEN_MALFORMED },
        { "{\"alg\":\"HS256\",\"kid\":\"hs\",\"zip\":\"DEF\"}", TOKEN_HS256, "secret",
          STATUS_TOKEN_MALFORMED },
        /* JSON */
        { "{\"alg\":\"none\",\"alg\":\"HS256\",\"kid\":\"hs\"}", TOKEN_HS256, "secret",
          STATUS_TOKEN_MALFORMED },
        { "{\"alg\":\"HS256\",\"kid\":\"hs\",\"kid\":\"rs\"}", TOKEN_HS256, "secret",
          STATUS_TOKEN_MALFORMED },
        { "{\"alg\":\"HS256\",\"kid\":\"hs\"} x", TOKEN_HS256, "secret", STATUS_TOKEN_MALFORMED },
        { "[]", TOKEN_HS256, "secret", STATUS_TOKEN_MALFORMED },
        { "", TOKEN_HS256, "secret", STATUS_TOKEN_MALFORMED },
    };
    struct slice claims = SLICE("{" GOOD "," EXP "}");

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct buf token = { 0 };
        token_sign_by_hand(rows[i].signed_as, key_fixtures_path(&keys, rows[i].key),
                           slice_from_string(rows[i].header), claims, &token);
        enum status status = verify(*state, buf_slice(&token), TOKEN_USE_EXEC);
        if (status != rows[i].expected)
            fail_msg("%s: %s, not %s", rows[i].header, status_name(status),
                     status_name(rows[i].expected));
        buf_deinit(&token);
    }
}

static void a_header_has_at_most_a_kilobyte(void **state)
{
    for (size_t pad = 0; pad <= 1; pad++) {
        struct buf header = { 0 };
        struct buf token = { 0 };
        buf_append(&header, SLICE("{\"alg\":\"HS256\",\"kid\":\"hs\"}"));
        while (header.len < 1024 + pad)
            buf_append_byte(&header, ' ');
        token_sign_by_hand(TOKEN_HS256, key_fixtures_path(&keys, "secret"), buf_slice(&header),
                           SLICE("{" GOOD "," EXP "}"), &token);
        assert_int_equal(verify(*state, buf_slice(&token), TOKEN_USE_EXEC),
                         pad == 0 ? STATUS_OK : STATUS_TOKEN_MALFORMED);
        buf_deinit(&header);
        buf_deinit(&token);
    }
}

static void unsigned_tokens_are_refused(void **state)
{
    struct buf token = { 0 };

    base64url_encode(SLICE("{\"alg\":\"none\"}"), &token);
    buf_append_byte(&token, '.');
    base64url_encode(SLICE("{" GOOD "," EXP "}"), &token);
    buf_append_byte(&token, '.');
    assert_int_equal(verify(*state, buf_slice(&token), TOKEN_USE_EXEC), STATUS_TOKEN_ALGORITHM);
    buf_deinit(&token);

    struct buf good = claims_token("{" GOOD "," EXP "}", 0);
    struct slice text = buf_slice(&good);
    while (text.ptr[text.len - 1] != '.')
        text.len--;
    assert_int_equal(verify(*state, text, TOKEN_USE_EXEC), STATUS_TOKEN_SIGNATURE);
    buf_deinit(&good);
}

static void one_token_has_one_text(void **state)
{
    struct buf good = claims_token("{" GOOD "," EXP "}", 0);
    static const char *const tails[] = { "=", "==", "A", ".", ".x", "!", "\n", " ", "%00" };
    static const char *const heads[] = { " ", ".", "A", "Bearer " };

    assert_int_equal(verify(*state, buf_slice(&good), TOKEN_USE_EXEC), STATUS_OK);
    for (size_t i = 0; i < sizeof(tails) / sizeof(*tails); i++) {
        struct buf changed = { 0 };
        buf_append(&changed, buf_slice(&good));
        buf_append(&changed, slice_from_string(tails[i]));
        assert_int_not_equal(verify(*state, buf_slice(&changed), TOKEN_USE_EXEC), STATUS_OK);
        buf_deinit(&changed);
    }
    for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
        struct buf changed = { 0 };
        buf_append(&changed, slice_from_string(heads[i]));
        buf_append(&changed, buf_slice(&good));
        assert_int_not_equal(verify(*state, buf_slice(&changed), TOKEN_USE_EXEC), STATUS_OK);
        buf_deinit(&changed);
    }
    /* Every other last digit: the four stray bits of a 32-byte signature make 16 texts of one
     * signature. */
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/";
    char *last = good.memory + good.start + good.len - 1;
    char original = *last;
    for (size_t i = 0; i < sizeof(digits) - 1; i++) {
        *last = digits[i];
        assert_int_equal(verify(*state, buf_slice(&good), TOKEN_USE_EXEC) == STATUS_OK,
                         digits[i] == original);
    }
    buf_deinit(&good);
}

static void texts_that_are_no_tokens_are_refused(void **state)
{
    static const char *const rows[] = { "",      ".",       "..",
                                        "...",   "a",       "a.b",
                                        "a.b.c", "a.b.c.d", "e30.e30.e30",
                                        "e30..", ".e30.",   "e30.e30.e30.e30.e30" };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_int_not_equal(verify(*state, slice_from_string(rows[i]), TOKEN_USE_EXEC), STATUS_OK);
    assert_int_equal(verify(*state, SLICE(""), TOKEN_USE_EXEC), STATUS_TOKEN_MALFORMED);
    assert_int_equal(verify(*state, SLICE("e30.e30"), TOKEN_USE_EXEC), STATUS_TOKEN_MALFORMED);
    assert_int_equal(verify(*state, SLICE("a.\0b.c"), TOKEN_USE_EXEC), STATUS_TOKEN_MALFORMED);
}

static void a_long_token_is_refused_unread(void **state)
{
    struct buf token = { 0 };
    struct buf nested = { 0 };

    memset(buf_reserve(&token, 1 << 20), 'a', 1 << 20);
    buf_commit(&token, 1 << 20);
    assert_int_equal(verify(*state, buf_slice(&token), TOKEN_USE_EXEC), STATUS_TOKEN_TOO_LONG);
    assert_int_equal(verify(*state, slice_first(buf_slice(&token), 8193), TOKEN_USE_EXEC),
                     STATUS_TOKEN_TOO_LONG);
    assert_int_equal(verify(*state, slice_first(buf_slice(&token), 8192), TOKEN_USE_EXEC),
                     STATUS_TOKEN_MALFORMED);
    buf_deinit(&token);

    for (size_t i = 0; i < 6000; i++) /* as deep as 8 KiB can be */
        buf_append_byte(&nested, '[');
    base64url_encode(buf_slice(&nested), &token);
    buf_append(&token, SLICE(".e30.e30"));
    assert_int_equal(verify(*state, buf_slice(&token), TOKEN_USE_EXEC), STATUS_TOKEN_MALFORMED);
    buf_deinit(&token);
    buf_deinit(&nested);
}

static void two_kids_work_side_by_side_until_one_is_dropped(void **state)
{
    struct fixture *f = *state;
    const struct key_options options[] = {
        { "hs", TOKEN_HS256, key_fixtures_path(&keys, "secret") },
        { "new", TOKEN_HS256, key_fixtures_path(&keys, "new_secret") }
    };
    struct key_store *both = store_of(options, 2);
    struct key_store *new_only = store_of(options + 1, 1);
    struct buf old_token = claims_token("{" GOOD "," EXP "}", 0);
    struct buf new_token = { 0 };

    token_sign_by_hand(TOKEN_HS256, key_fixtures_path(&keys, "new_secret"),
                       SLICE("{\"alg\":\"HS256\",\"kid\":\"new\"}"), SLICE("{" GOOD "," EXP "}"),
                       &new_token);
    assert_int_equal(verify(f, buf_slice(&old_token), TOKEN_USE_EXEC), STATUS_OK);
    assert_int_equal(verify(f, buf_slice(&new_token), TOKEN_USE_EXEC), STATUS_TOKEN_KEY_UNKNOWN);
    token_verifier_set_keys(f->verifier, both);
    assert_int_equal(verify(f, buf_slice(&old_token), TOKEN_USE_EXEC), STATUS_OK);
    assert_int_equal(verify(f, buf_slice(&new_token), TOKEN_USE_EXEC), STATUS_OK);
    token_verifier_set_keys(f->verifier, new_only);
    assert_int_equal(verify(f, buf_slice(&old_token), TOKEN_USE_EXEC), STATUS_TOKEN_KEY_UNKNOWN);
    assert_int_equal(verify(f, buf_slice(&new_token), TOKEN_USE_EXEC), STATUS_OK);
    key_store_unref(&both);
    key_store_unref(&new_only);
    buf_deinit(&old_token);
    buf_deinit(&new_token);
}

static void a_remembered_token_still_expires(void **state)
{
    struct fixture *f = *state;
    const struct token_counters *counters = token_verifier_counters(f->verifier);
    struct buf token = claims_token("{" GOOD ",\"exp\":%T,\"nbf\":1799999990}", NOW_S + 60);

    assert_int_equal(verify(f, buf_slice(&token), TOKEN_USE_EXEC), STATUS_OK);
    assert_int_equal(verify(f, buf_slice(&token), TOKEN_USE_EXEC), STATUS_OK);
    assert_int_equal(counter_read(&counters->verified), 1);
    assert_int_equal(counter_read(&counters->cache_hits), 1);
    f->clock.wall_ms += 89999;
    assert_int_equal(verify(f, buf_slice(&token), TOKEN_USE_EXEC), STATUS_OK);
    f->clock.wall_ms += 1;
    assert_int_equal(verify(f, buf_slice(&token), TOKEN_USE_EXEC), STATUS_TOKEN_EXPIRED);
    assert_int_equal(verify(f, buf_slice(&token), TOKEN_USE_EXEC), STATUS_TOKEN_EXPIRED);
    assert_int_equal(counter_read(&counters->refused[STATUS_TOKEN_EXPIRED]), 2);
    /* The wall clock may be set back. */
    f->clock.wall_ms = (int64_t)NOW_S * 1000;
    assert_int_equal(verify(f, buf_slice(&token), TOKEN_USE_EXEC), STATUS_OK);
    f->clock.wall_ms -= 41000;
    assert_int_equal(verify(f, buf_slice(&token), TOKEN_USE_EXEC), STATUS_TOKEN_NOT_YET_VALID);
    buf_deinit(&token);
}

static void a_verdict_holds_for_its_use_alone(void **state)
{
    struct fixture *f = *state;
    struct buf token = claims_token(
        "{" ISS ",\"aud\":[\"exec\",\"access\"]," IDS ",\"kind\":\"exec\"," EXP "}", 0);

    assert_int_equal(verify(f, buf_slice(&token), TOKEN_USE_EXEC), STATUS_OK);
    assert_int_equal(verify(f, buf_slice(&token), TOKEN_USE_ACCESS), STATUS_TOKEN_KIND);
    assert_int_equal(verify(f, buf_slice(&token), TOKEN_USE_EXEC), STATUS_OK);
    buf_deinit(&token);
}

static void a_principal_outlives_the_verifier_and_eviction(void **state)
{
    struct fixture *f = *state;
    struct buf token = claims_token("{" GOOD "," EXP "}", 0);
    struct principal *who = NULL;
    struct principal *again = NULL;

    assert_int_equal(token_verify(f->verifier, buf_slice(&token), TOKEN_USE_EXEC, &who), STATUS_OK);
    assert_int_equal(token_verify(f->verifier, buf_slice(&token), TOKEN_USE_EXEC, &again),
                     STATUS_OK);
    assert_ptr_equal(who, again);
    principal_unref(&again);
    for (int i = 0; i < 200; i++) /* the cache has 100 places */
        assert_int_equal(verify_claims(f, "{" GOOD "," EXP ",\"jti\":%T}", i, TOKEN_USE_EXEC),
                         STATUS_OK);
    assert_int_equal(who->ref_count, 1);
    token_verifier_destroy(&f->verifier);
    assert_true(slice_equal(who->session_id, SLICE("ses_1")));
    principal_unref(&who);
    buf_deinit(&token);
}

static void refusals_are_counted_by_outcome(void **state)
{
    struct fixture *f = *state;
    const struct token_counters *counters = token_verifier_counters(f->verifier);

    (void)verify(f, SLICE("x"), TOKEN_USE_EXEC);
    (void)verify(f, SLICE("y"), TOKEN_USE_EXEC);
    (void)verify_claims(f, "{" GOOD ",\"exp\":1}", 0, TOKEN_USE_EXEC);
    assert_int_equal(counter_read(&counters->refused[STATUS_TOKEN_MALFORMED]), 2);
    assert_int_equal(counter_read(&counters->refused[STATUS_TOKEN_EXPIRED]), 1);
    assert_int_equal(counter_read(&counters->verified), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_token_names_who_is_asking),
        TEST(an_access_token_may_open_one_port),
        TEST(claims_get_the_outcome_of_this_table),
        TEST(long_ids_are_refused),
        TEST(times_are_checked_with_thirty_seconds_of_leeway),
        TEST(headers_get_the_outcome_of_this_table),
        TEST(a_header_has_at_most_a_kilobyte),
        TEST(unsigned_tokens_are_refused),
        TEST(one_token_has_one_text),
        TEST(texts_that_are_no_tokens_are_refused),
        TEST(a_long_token_is_refused_unread),
        TEST(two_kids_work_side_by_side_until_one_is_dropped),
        TEST(a_remembered_token_still_expires),
        TEST(a_verdict_holds_for_its_use_alone),
        TEST(a_principal_outlives_the_verifier_and_eviction),
        TEST(refusals_are_counted_by_outcome),
    };

    return cmocka_run_group_tests(tests, make_keys, remove_keys);
}
