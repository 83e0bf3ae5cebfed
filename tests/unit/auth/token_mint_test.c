/* Minting and checking fit together, for all nine algorithms; libjwt is the judge that knows
 * nothing of our code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jwt.h>

#include "auth/token_mint.h"
#include "key_fixtures.h"

enum { NOW_S = 1800000000 };

static struct key_fixtures keys;

/* The secret's file has no newline at its end, so that libjwt, too, can be given the file as it is.
 */
static const struct {
    enum token_algorithm algorithm;
    const char *private_file, *public_file;
    unsigned mutation_count; /* fewer where a check is slow */
} rows[] = {
    { TOKEN_HS256, "secret", "secret", 3000 },
    { TOKEN_HS384, "secret", "secret", 1000 },
    { TOKEN_HS512, "secret", "secret", 1000 },
    { TOKEN_RS256, "rsa.pem", "rsa.pub.pem", 300 },
    { TOKEN_RS384, "rsa.pem", "rsa.pub.pem", 100 },
    { TOKEN_RS512, "rsa.pem", "rsa.pub.pem", 100 },
    { TOKEN_ES256, "p256.pem", "p256.pub.pem", 300 },
    { TOKEN_ES384, "p384.pem", "p384.pub.pem", 60 },
    { TOKEN_ES512, "p521.pem", "p521.pub.pem", 60 },
};

static const char *const process_only[] = { "process", NULL };

static const struct token_claims good_claims = {
    .issuer = "issuer",
    .audience = "exec",
    .session_id = "ses_1",
    .computer_id = "cmp_1",
    .user_id = "usr_1",
    .kind = "exec",
    .capabilities = process_only,
    .issued_wall_s = NOW_S,
    .expires_wall_s = NOW_S + 600,
};

static int make_keys(void **state)
{
    (void)state;
    key_fixtures_init(&keys);
    key_fixtures_file(&keys, "secret",
                      SLICE("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"));
    key_fixtures_file(&keys, "short", SLICE("0123456789"));
    key_fixtures_rsa(&keys, "rsa", 2048);
    key_fixtures_ec(&keys, "p256", "P-256");
    key_fixtures_ec(&keys, "p384", "P-384");
    key_fixtures_ec(&keys, "p521", "P-521");
    return 0;
}

static int remove_keys(void **state)
{
    (void)state;
    key_fixtures_deinit(&keys);
    return 0;
}

static struct token_verifier *verifier_for(size_t row, const struct clock *clock)
{
    const struct key_options key = { "k1", rows[row].algorithm,
                                     key_fixtures_path(&keys, rows[row].public_file) };
    const struct token_options options = { .issuer = "issuer",
                                           .exec_audience = "exec",
                                           .access_audience = "access",
                                           .leeway_ms = 30000,
                                           .token_bytes = 8192,
                                           .cache_entries = 16 };
    struct key_store *store = NULL;

    assert_int_equal(key_store_create(&key, 1, NULL, &store), STATUS_OK);
    struct token_verifier *verifier = token_verifier_create(&options, store, clock);
    key_store_unref(&store);
    return verifier;
}

static struct buf mint(size_t row)
{
    const struct key_options key = { "k1", rows[row].algorithm,
                                     key_fixtures_path(&keys, rows[row].private_file) };
    struct buf token = { 0 };
    struct buf error = { 0 };

    if (token_mint(&good_claims, &key, &error, &token) != STATUS_OK)
        fail_msg("%s", buf_text(&error));
    buf_deinit(&error);
    return token;
}

static bool libjwt_accepts(size_t row, struct buf *token)
{
    struct buf key = { 0 };
    jwt_t *jwt = NULL;

    read_whole_file(key_fixtures_path(&keys, rows[row].public_file), &key);
    (void)buf_text(&key);
    int outcome =
        jwt_decode(&jwt, buf_text(token), (const unsigned char *)key.memory, (int)key.len);
    jwt_free(jwt);
    buf_deinit(&key);
    return outcome == 0;
}

static void all_nine_algorithms_are_minted_by_libjwt_and_accepted(void **state)
{
    const struct clock clock = { .wall_ms = (int64_t)NOW_S * 1000 };

    (void)state;
    for (size_t row = 0; row < TOKEN_ALGORITHM_COUNT; row++) {
        struct token_verifier *verifier = verifier_for(row, &clock);
        struct buf token = mint(row);
        struct principal *who = NULL;
        assert_int_equal(token_verify(verifier, buf_slice(&token), TOKEN_USE_EXEC, &who),
                         STATUS_OK);
        assert_true(slice_equal(who->session_id, SLICE("ses_1")));
        assert_true(slice_equal(who->computer_id, SLICE("cmp_1")));
        assert_true(slice_equal(who->user_id, SLICE("usr_1")));
        assert_int_equal(who->capabilities, CAPABILITY_PROCESS);
        assert_true(who->expires_wall_ms == (NOW_S + 600) * 1000LL);
        assert_true(libjwt_accepts(row, &token));
        principal_unref(&who);
        buf_deinit(&token);
        token_verifier_destroy(&verifier);
    }
}

/* One or two bytes changed, cut, or added. */
static void mutate(struct buf *token)
{
    size_t at = (size_t)rand() % token->len;

    switch (rand() % 4) {
    case 0:
        token->memory[token->start + at] ^= (char)(1 << rand() % 7);
        break;
    case 1:
        token->memory[token->start + at] = (char)rand();
        break;
    case 2:
        token->len -= (size_t)rand() % 4;
        break;
    default:
        buf_append(token, slice_first(SLICE("A=."), 1 + (size_t)rand() % 3));
    }
}

static void what_we_accept_libjwt_accepts(void **state)
{
    const struct clock clock = { .wall_ms = (int64_t)NOW_S * 1000 };

    (void)state;
    srand(7);
    for (size_t row = 0; row < TOKEN_ALGORITHM_COUNT; row++) {
        struct token_verifier *verifier = verifier_for(row, &clock);
        struct buf good = mint(row);
        for (unsigned i = 0; i < rows[row].mutation_count; i++) {
            struct buf token = { 0 };
            struct principal *who = NULL;
            buf_append(&token, buf_slice(&good));
            mutate(&token);
            enum status status = token_verify(verifier, buf_slice(&token), TOKEN_USE_EXEC, &who);
            if (status == STATUS_OK) {
                /* Only the text itself: any other would be a forgery or a second text of the same
                 * token. */
                assert_true(slice_equal(buf_slice(&token), buf_slice(&good)));
                assert_true(libjwt_accepts(row, &token));
            }
            principal_unref(&who);
            buf_deinit(&token);
        }
        buf_deinit(&good);
        token_verifier_destroy(&verifier);
    }
}

static void an_access_token_carries_its_port(void **state)
{
    const struct clock clock = { .wall_ms = (int64_t)NOW_S * 1000 };
    struct token_verifier *verifier = verifier_for(0, &clock);
    const struct key_options key = { "k1", TOKEN_HS256, key_fixtures_path(&keys, "secret") };
    struct token_claims claims = good_claims;
    struct buf token = { 0 };
    struct principal *who = NULL;

    (void)state;
    claims.audience = "access";
    claims.kind = "vnc";
    claims.port = "6080";
    claims.user_id = NULL;
    claims.capabilities = NULL;
    assert_int_equal(token_mint(&claims, &key, NULL, &token), STATUS_OK);
    assert_int_equal(token_verify(verifier, buf_slice(&token), TOKEN_USE_ACCESS, &who), STATUS_OK);
    assert_int_equal(who->kind, PRINCIPAL_VNC);
    assert_true(slice_equal(who->port, SLICE("6080")));
    assert_int_equal(who->user_id.len, 0);
    principal_unref(&who);
    buf_deinit(&token);
    token_verifier_destroy(&verifier);
}

static void keys_that_cannot_sign_are_refused(void **state)
{
    static const struct {
        const char *kid;
        enum token_algorithm algorithm;
        const char *file;
        const char *reason;
    } bad[] = {
        { "k1", TOKEN_RS256, "rsa.pub.pem", "private" },
        { "k1", TOKEN_ES256, "p384.pem", "curve" },
        { "k1", TOKEN_ES256, "rsa.pem", "EC" },
        { "k1", TOKEN_HS256, "short", "shorter" },
        { "k1", TOKEN_HS256, "rsa.pem", "PEM" },
        { "k1", TOKEN_HS256, "missing", "No such file" },
        { "k 1", TOKEN_HS256, "secret", "kid" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        const struct key_options key = { bad[i].kid, bad[i].algorithm,
                                         key_fixtures_path(&keys, bad[i].file) };
        struct buf token = { 0 };
        struct buf error = { 0 };
        assert_int_equal(token_mint(&good_claims, &key, &error, &token), STATUS_CONFIG_INVALID);
        assert_non_null(strstr(buf_text(&error), bad[i].reason));
        assert_int_equal(token.len, 0);
        buf_deinit(&error);
        buf_deinit(&token);
    }
}

static void claims_that_would_be_refused_are_not_minted(void **state)
{
    const struct key_options key = { "k1", TOKEN_HS256, key_fixtures_path(&keys, "secret") };
    struct token_claims bad[7];
    struct buf token = { 0 };

    (void)state;
    for (size_t i = 0; i < 7; i++)
        bad[i] = good_claims;
    bad[0].session_id = "a b";
    bad[1].computer_id = NULL;
    bad[2].user_id = "a\nb";
    bad[3].issuer = "";
    bad[4].port = "0";
    bad[5].expires_wall_s = NOW_S;
    bad[6].kind = NULL;
    for (size_t i = 0; i < 7; i++) {
        struct buf error = { 0 };
        assert_int_equal(token_mint(&bad[i], &key, &error, &token), STATUS_CONFIG_INVALID);
        assert_true(error.len > 0);
        buf_deinit(&error);
    }
    assert_int_equal(token.len, 0);
    buf_deinit(&token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_nine_algorithms_are_minted_by_libjwt_and_accepted),
        cmocka_unit_test(what_we_accept_libjwt_accepts),
        cmocka_unit_test(an_access_token_carries_its_port),
        cmocka_unit_test(keys_that_cannot_sign_are_refused),
        cmocka_unit_test(claims_that_would_be_refused_are_not_minted),
    };

    return cmocka_run_group_tests(tests, make_keys, remove_keys);
}
