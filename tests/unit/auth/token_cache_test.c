/* The cache alone: bounded, least recently used leaves first, references balance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "auth/token_cache.h"

struct key {
    char bytes[TOKEN_CACHE_KEY_BYTES];
};

static struct key key_of(unsigned number)
{
    struct key key = { { 0 } };

    memcpy(key.bytes, &number, sizeof(number));
    return key;
}

static struct principal *put(struct token_cache *cache, unsigned number)
{
    struct principal from = { .session_id = SLICE("ses_1"), .computer_id = SLICE("cmp_1") };
    struct token_verdict verdict = { .principal = principal_create(&from) };
    struct key key = key_of(number);

    token_cache_put(cache, slice_of(key.bytes, sizeof(key.bytes)), &verdict);
    return verdict.principal;
}

static bool has(struct token_cache *cache, unsigned number)
{
    struct key key = key_of(number);

    return token_cache_find(cache, slice_of(key.bytes, sizeof(key.bytes))) != NULL;
}

static void the_least_recently_used_entry_leaves_first(void **state)
{
    struct token_cache cache;

    (void)state;
    token_cache_init(&cache, 3);
    for (unsigned i = 1; i <= 3; i++) {
        struct principal *principal = put(&cache, i);
        principal_unref(&principal);
    }
    assert_true(has(&cache, 1));
    struct principal *fourth = put(&cache, 4);
    assert_int_equal(fourth->ref_count, 2);
    assert_true(has(&cache, 1));
    assert_false(has(&cache, 2));
    assert_true(has(&cache, 3));
    assert_true(has(&cache, 4));
    token_cache_deinit(&cache);
    assert_int_equal(fourth->ref_count, 1);
    assert_true(slice_equal(fourth->session_id, SLICE("ses_1")));
    principal_unref(&fourth);
}

static void a_hundred_thousand_tokens_leave_only_the_bound(void **state)
{
    struct token_cache cache;

    (void)state;
    token_cache_init(&cache, 1000);
    for (unsigned i = 0; i < 100000; i++) {
        struct principal *principal = put(&cache, i);
        principal_unref(&principal);
    }
    assert_int_equal(cache.entries.count, 1000);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(has(&cache, i), i >= 99000);
    token_cache_clear(&cache);
    assert_int_equal(cache.entries.count, 0);
    assert_false(has(&cache, 99999));
    token_cache_deinit(&cache);
}

static void a_cache_of_nothing_holds_nothing(void **state)
{
    struct token_cache cache;

    (void)state;
    token_cache_init(&cache, 0);
    struct principal *principal = put(&cache, 1);
    assert_int_equal(principal->ref_count, 1);
    assert_false(has(&cache, 1));
    struct key key = key_of(1);
    token_cache_remove(&cache, slice_of(key.bytes, sizeof(key.bytes)));
    principal_unref(&principal);
    token_cache_deinit(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_recently_used_entry_leaves_first),
        cmocka_unit_test(a_hundred_thousand_tokens_leave_only_the_bound),
        cmocka_unit_test(a_cache_of_nothing_holds_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
