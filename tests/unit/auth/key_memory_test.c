/* Without memory in OpenSSL nothing is known of a signature: that is said as it is, never as "this
 * signature is wrong", and never as "it is good". Every allocation of a check fails once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#include "auth/key_store.h"
#include "base/base64.h"
#include "key_fixtures.h"

static struct key_fixtures keys;
static long left = -1; /* allocations until the one that fails; -1: none does */

static bool fails(void)
{
    return left >= 0 && left-- == 0;
}

static void *allocate(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails() ? NULL : malloc(size);
}

static void *reallocate(void *memory, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails() ? NULL : realloc(memory, size);
}

static void release(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    free(memory);
}

struct check {
    struct key_store *store;
    const char *algorithm;
    struct buf token, signature;
    struct slice signed_bytes;
};

static void check_init(struct check *check, enum token_algorithm algorithm,
                       const char *private_file, const char *public_file)
{
    const struct key_options options = { .kid = "k",
                                         .algorithm = algorithm,
                                         .file = key_fixtures_path(&keys, public_file) };

    *check = (struct check){ .algorithm = token_algorithm_text(algorithm) };
    assert_int_equal(key_store_create(&options, 1, NULL, &check->store), STATUS_OK);
    token_sign_by_hand(algorithm, key_fixtures_path(&keys, private_file), SLICE("{}"), SLICE("{}"),
                       &check->token);

    struct slice rest = buf_slice(&check->token);
    size_t head = slice_cut(&rest, '.').len + 1;

    head += slice_cut(&rest, '.').len;
    check->signed_bytes = slice_first(buf_slice(&check->token), head);
    assert_true(base64url_decode(rest, &check->signature));
}

static void check_deinit(struct check *check)
{
    key_store_unref(&check->store);
    buf_deinit(&check->token);
    buf_deinit(&check->signature);
}

/* `failing`: which allocation fails. Returns whether it came to that. */
static bool run(const struct check *check, long failing, enum status *out_status)
{
    left = failing;
    *out_status = key_store_verify(check->store, SLICE("k"), slice_from_string(check->algorithm),
                                   check->signed_bytes, buf_slice(&check->signature));

    bool has_failed = failing >= 0 && left < 0;

    left = -1;
    return has_failed;
}

/* Returns how many of the allocations made the check impossible. */
static unsigned fail_each(const struct check *check, enum status expected)
{
    unsigned impossible = 0;
    enum status status;
    long i = 0;

    (void)run(check, -1, &status);
    assert_int_equal(status, expected);
    while (run(check, i++, &status)) {
        assert_true(status == expected || status == STATUS_OVERLOADED);
        assert_int_equal(ERR_peek_error(), 0);
        impossible += status == STATUS_OVERLOADED;
    }
    return impossible;
}

static const struct {
    enum token_algorithm algorithm;
    const char *private_file, *public_file;
} rows[] = {
    { TOKEN_HS256, "secret", "secret" },
    { TOKEN_RS256, "rsa.pem", "rsa.pub.pem" },
    { TOKEN_ES256, "p256.pem", "p256.pub.pem" },
    { TOKEN_ES384, "p384.pem", "p384.pub.pem" },
};

static void a_good_signature_is_good_or_unknown(void **state)
{
    struct check check;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check_init(&check, rows[i].algorithm, rows[i].private_file, rows[i].public_file);
        assert_true(fail_each(&check, STATUS_OK) > 0);
        check_deinit(&check);
    }
}

static void a_wrong_signature_is_wrong_or_unknown(void **state)
{
    struct check check;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check_init(&check, rows[i].algorithm, rows[i].private_file, rows[i].public_file);
        check.signature.memory[3] ^= 1;
        assert_true(fail_each(&check, STATUS_TOKEN_SIGNATURE) > 0);
        check_deinit(&check);
    }
}

static int make_keys(void **state)
{
    (void)state;
    key_fixtures_init(&keys);
    key_fixtures_file(&keys, "secret", SLICE("0123456789abcdef0123456789abcdef"));
    key_fixtures_rsa(&keys, "rsa", 2048);
    key_fixtures_ec(&keys, "p256", "P-256");
    key_fixtures_ec(&keys, "p384", "P-384");
    return 0;
}

static int remove_keys(void **state)
{
    (void)state;
    key_fixtures_deinit(&keys);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_signature_is_good_or_unknown),
        cmocka_unit_test(a_wrong_signature_is_wrong_or_unknown),
    };

    if (CRYPTO_set_mem_functions(allocate, reallocate, release) != 1)
        return 1; /* too late: OpenSSL has allocated already */
    return cmocka_run_group_tests(tests, make_keys, remove_keys);
}
