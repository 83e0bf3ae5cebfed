/* What a key must be like to be taken, what the refusal says, and what a signature must be like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "auth/key_store.h"
#include "base/base64.h"
#include "key_fixtures.h"

static struct key_fixtures keys;

static int make_keys(void **state)
{
    (void)state;
    key_fixtures_init(&keys);
    key_fixtures_rsa(&keys, "rsa", 2048);
    key_fixtures_rsa(&keys, "rsa1024", 1024);
    key_fixtures_ec(&keys, "p256", "P-256");
    key_fixtures_ec(&keys, "p384", "P-384");
    key_fixtures_ec(&keys, "p521", "P-521");
    key_fixtures_ec(&keys, "k256", "secp256k1");
    key_fixtures_file(&keys, "secret32", SLICE("0123456789abcdef0123456789abcdef\n"));
    key_fixtures_file(&keys, "secret31", SLICE("0123456789abcdef0123456789abcde\n"));
    key_fixtures_file(&keys, "secret64",
                      SLICE("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"));
    key_fixtures_file(&keys, "empty", SLICE(""));
    key_fixtures_file(&keys, "garbage",
                      SLICE("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"));
    return 0;
}

static int remove_keys(void **state)
{
    (void)state;
    key_fixtures_deinit(&keys);
    return 0;
}

static enum status load(const char *kid, enum token_algorithm algorithm, const char *file,
                        struct buf *error)
{
    struct key_options options = { .kid = kid, .algorithm = algorithm, .file = file };
    struct key_store *store = NULL;
    enum status status = key_store_create(&options, 1, error, &store);

    assert_true((status == STATUS_OK) == (store != NULL));
    key_store_unref(&store);
    assert_null(store);
    return status;
}

static void algorithm_names_are_exact(void **state)
{
    enum token_algorithm algorithm;

    (void)state;
    for (unsigned i = 0; i < TOKEN_ALGORITHM_COUNT; i++) {
        const char *name = token_algorithm_text((enum token_algorithm)i);
        assert_true(token_algorithm_from_text(slice_from_string(name), &algorithm));
        assert_int_equal(algorithm, i);
    }
    assert_false(token_algorithm_from_text(SLICE("es256"), &algorithm));
    assert_false(token_algorithm_from_text(SLICE("none"), &algorithm));
    assert_false(token_algorithm_from_text(SLICE("PS256"), &algorithm));
    assert_false(token_algorithm_from_text(SLICE("ES256 "), &algorithm));
    assert_false(token_algorithm_from_text(SLICE(""), &algorithm));
}

static void fitting_keys_are_taken_from_every_kind_of_file(void **state)
{
    static const struct {
        enum token_algorithm algorithm;
        const char *file;
    } rows[] = {
        { TOKEN_HS256, "secret32" },     { TOKEN_HS512, "secret64" },
        { TOKEN_RS256, "rsa.pub.pem" },  { TOKEN_RS384, "rsa.pem" },
        { TOKEN_RS512, "rsa.crt.pem" },  { TOKEN_ES256, "p256.pub.pem" },
        { TOKEN_ES256, "p256.pem" },     { TOKEN_ES384, "p384.crt.pem" },
        { TOKEN_ES512, "p521.pub.pem" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_int_equal(
            load("k1", rows[i].algorithm, key_fixtures_path(&keys, rows[i].file), NULL), STATUS_OK);
}

static void unfit_keys_are_refused_with_kid_file_and_reason(void **state)
{
    static const struct {
        enum token_algorithm algorithm;
        const char *file;
        const char *reason;
    } rows[] = {
        { TOKEN_HS256, "secret31", "shorter" },       { TOKEN_HS384, "secret32", "shorter" },
        { TOKEN_HS256, "empty", "shorter" },          { TOKEN_HS256, "rsa.pub.pem", "PEM" },
        { TOKEN_RS256, "rsa1024.pub.pem", "2048" },   { TOKEN_RS256, "p256.pub.pem", "RSA" },
        { TOKEN_ES256, "rsa.pub.pem", "EC" },         { TOKEN_ES256, "p384.pub.pem", "curve" },
        { TOKEN_ES256, "k256.pub.pem", "curve" },     { TOKEN_ES512, "p256.pem", "curve" },
        { TOKEN_RS256, "secret32", "no usable PEM" }, { TOKEN_RS256, "garbage", "no usable PEM" },
        { TOKEN_ES256, "missing", "No such file" },   { TOKEN_HS256, "", "directory" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const char *path = key_fixtures_path(&keys, rows[i].file);
        struct buf error = { 0 };
        assert_int_equal(load("key_7", rows[i].algorithm, path, &error), STATUS_CONFIG_INVALID);
        assert_non_null(strstr(buf_text(&error), "key_7"));
        assert_non_null(strstr(buf_text(&error), path));
        assert_non_null(strstr(buf_text(&error), rows[i].reason));
        buf_deinit(&error);
    }
}

static void kids_are_short_plain_words_listed_once(void **state)
{
    const char *file = key_fixtures_path(&keys, "secret32");
    struct key_options twice[] = { { "a", TOKEN_HS256, file }, { "a", TOKEN_HS256, file } };
    struct key_store *store = NULL;
    char long_kid[66];

    (void)state;
    memset(long_kid, 'k', sizeof(long_kid));
    long_kid[65] = '\0';
    assert_int_equal(load(long_kid, TOKEN_HS256, file, NULL), STATUS_CONFIG_INVALID);
    assert_int_equal(load(long_kid + 1, TOKEN_HS256, file, NULL), STATUS_OK);
    assert_int_equal(load("", TOKEN_HS256, file, NULL), STATUS_CONFIG_INVALID);
    assert_int_equal(load(NULL, TOKEN_HS256, file, NULL), STATUS_CONFIG_INVALID);
    assert_int_equal(load("../etc", TOKEN_HS256, file, NULL), STATUS_CONFIG_INVALID);
    assert_int_equal(load("k", TOKEN_HS256, NULL, NULL), STATUS_CONFIG_INVALID);
    assert_int_equal(key_store_create(twice, 2, NULL, &store), STATUS_CONFIG_INVALID);
    assert_int_equal(key_store_create(twice, 0, NULL, &store), STATUS_CONFIG_INVALID);
    assert_null(store);
}

/* Signs "x.y" (the text between) with the key of `name`. */
static void sign(enum token_algorithm algorithm, const char *name, struct buf *text,
                 struct buf *signature)
{
    struct buf token = { 0 };

    token_sign_by_hand(algorithm, key_fixtures_path(&keys, name), SLICE("{}"), SLICE("{}"), &token);
    struct slice rest = buf_slice(&token);
    struct slice header = slice_cut(&rest, '.');
    struct slice claims = slice_cut(&rest, '.');
    buf_append(text, header);
    buf_append_byte(text, '.');
    buf_append(text, claims);
    assert_true(base64url_decode(rest, signature));
    buf_deinit(&token);
}

static void an_ecdsa_signature_has_exactly_the_curve_s_length(void **state)
{
    static const struct {
        enum token_algorithm algorithm;
        const char *file;
        size_t len;
    } rows[] = { { TOKEN_ES256, "p256.pem", 64 },
                 { TOKEN_ES384, "p384.pem", 96 },
                 { TOKEN_ES512, "p521.pem", 132 } };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct key_options options = { "k", rows[i].algorithm,
                                       key_fixtures_path(&keys, rows[i].file) };
        struct slice name = slice_from_string(token_algorithm_text(rows[i].algorithm));
        struct key_store *store = NULL;
        struct buf text = { 0 };
        struct buf signature = { 0 };
        assert_int_equal(key_store_create(&options, 1, NULL, &store), STATUS_OK);
        sign(rows[i].algorithm, rows[i].file, &text, &signature);
        assert_int_equal(signature.len, rows[i].len);
        assert_int_equal(
            key_store_verify(store, SLICE("k"), name, buf_slice(&text), buf_slice(&signature)),
            STATUS_OK);

        buf_append_byte(&signature, '\0');
        for (size_t len = 0; len <= rows[i].len + 1; len++)
            if (len != rows[i].len)
                assert_int_equal(key_store_verify(store, SLICE("k"), name, buf_slice(&text),
                                                  slice_first(buf_slice(&signature), len)),
                                 STATUS_TOKEN_SIGNATURE);
        memset(signature.memory, 0, rows[i].len); /* r = s = 0: CVE-2022-21449 in another library */
        assert_int_equal(key_store_verify(store, SLICE("k"), name, buf_slice(&text),
                                          slice_first(buf_slice(&signature), rows[i].len)),
                         STATUS_TOKEN_SIGNATURE);
        buf_deinit(&text);
        buf_deinit(&signature);
        key_store_unref(&store);
    }
}

static void the_key_decides_the_algorithm(void **state)
{
    struct key_options options[] = { { "hs", TOKEN_HS256, key_fixtures_path(&keys, "secret64") },
                                     { "rs", TOKEN_RS256, key_fixtures_path(&keys, "rsa.pem") } };
    struct key_store *store = NULL;
    struct buf text = { 0 };
    struct buf signature = { 0 };

    (void)state;
    assert_int_equal(key_store_create(options, 2, NULL, &store), STATUS_OK);
    sign(TOKEN_HS512, "secret64", &text, &signature);
    struct slice bytes = buf_slice(&text);
    struct slice mac = buf_slice(&signature);
    assert_int_equal(key_store_verify(store, SLICE("hs"), SLICE("HS512"), bytes, mac),
                     STATUS_TOKEN_ALGORITHM);
    assert_int_equal(key_store_verify(store, SLICE("hs"), SLICE("hs256"), bytes, mac),
                     STATUS_TOKEN_ALGORITHM);
    assert_int_equal(key_store_verify(store, SLICE("hs"), SLICE("HS256"), bytes, mac),
                     STATUS_TOKEN_SIGNATURE);
    assert_int_equal(key_store_verify(store, SLICE("rs"), SLICE("HS256"), bytes, mac),
                     STATUS_TOKEN_ALGORITHM);
    assert_int_equal(key_store_verify(store, SLICE("no"), SLICE("HS256"), bytes, mac),
                     STATUS_TOKEN_KEY_UNKNOWN);
    assert_int_equal(key_store_verify(store, SLICE("h"), SLICE("HS256"), bytes, mac),
                     STATUS_TOKEN_KEY_UNKNOWN);
    assert_int_equal(key_store_verify(store, SLICE("hs"), SLICE("HS256"), bytes, SLICE("")),
                     STATUS_TOKEN_SIGNATURE);
    assert_int_equal(key_store_verify(store, SLICE("rs"), SLICE("RS256"), bytes, SLICE("")),
                     STATUS_TOKEN_SIGNATURE);
    buf_deinit(&text);
    buf_deinit(&signature);
    key_store_unref(&store);
}

static void the_last_reference_frees_the_store(void **state)
{
    struct key_options options = { "hs", TOKEN_HS256, key_fixtures_path(&keys, "secret32") };
    struct key_store *store = NULL;

    (void)state;
    assert_int_equal(key_store_create(&options, 1, NULL, &store), STATUS_OK);
    struct key_store *second = key_store_ref(store);
    key_store_unref(&store);
    assert_null(store);
    assert_int_equal(key_store_verify(second, SLICE("no"), SLICE("HS256"), SLICE("x"), SLICE("y")),
                     STATUS_TOKEN_KEY_UNKNOWN);
    key_store_unref(&second);
    key_store_unref(&second); /* already NULL */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(algorithm_names_are_exact),
        cmocka_unit_test(fitting_keys_are_taken_from_every_kind_of_file),
        cmocka_unit_test(unfit_keys_are_refused_with_kid_file_and_reason),
        cmocka_unit_test(kids_are_short_plain_words_listed_once),
        cmocka_unit_test(an_ecdsa_signature_has_exactly_the_curve_s_length),
        cmocka_unit_test(the_key_decides_the_algorithm),
        cmocka_unit_test(the_last_reference_frees_the_store),
    };

    return cmocka_run_group_tests(tests, make_keys, remove_keys);
}
