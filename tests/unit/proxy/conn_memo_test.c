#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "key_fixtures.h"
#include "proxy/conn_memo.h"

struct fixture {
    struct clock clock;
    struct key_fixtures keys;
    struct key_store *store;
    struct token_verifier *tokens;
    struct exchange_link link;
    struct conn_memo *memo;
    struct buf token;
};

static int setup(void **state)
{
    struct fixture *f = mem_zeroed(sizeof(*f));
    struct key_options key = { .kid = "k1", .algorithm = TOKEN_HS256 };
    struct token_options options = { .issuer = "test",
                                     .exec_audience = "exec",
                                     .access_audience = "access",
                                     .leeway_ms = 30000,
                                     .token_bytes = 8192,
                                     .cache_entries = 10 };

    f->clock = (struct clock){ .now_ms = 1000000, .wall_ms = 1000000 };
    key_fixtures_init(&f->keys);
    key_fixtures_file(&f->keys, "k1", SLICE("0123456789abcdef0123456789abcdef"));
    key.file = key_fixtures_path(&f->keys, "k1");
    assert_int_equal(key_store_create(&key, 1, NULL, &f->store), STATUS_OK);
    f->tokens = token_verifier_create(&options, f->store, &f->clock);
    token_sign_by_hand(TOKEN_HS256, key.file, SLICE("{\"alg\":\"HS256\",\"kid\":\"k1\"}"),
                       SLICE("{\"iss\":\"test\",\"aud\":\"exec\",\"exp\":1010,\"sid\":\"s\","
                             "\"cid\":\"c\",\"kind\":\"exec\",\"cap\":[\"process\"]}"),
                       &f->token);
    f->memo = conn_memo_of(&f->link, NULL, 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    f->link.memo_free(f->link.memo);
    token_verifier_destroy(&f->tokens);
    key_store_unref(&f->store);
    key_fixtures_deinit(&f->keys);
    buf_deinit(&f->token);
    mem_free(f);
    return 0;
}

static enum status verify(struct fixture *f, enum token_use use)
{
    struct principal *principal = NULL;
    enum status status =
        conn_memo_verify(f->memo, f->tokens, &f->clock, buf_slice(&f->token), use, &principal);

    principal_unref(&principal);
    return status;
}

static uint64_t asked(const struct fixture *f)
{
    const struct token_counters *counters = token_verifier_counters(f->tokens);

    return counter_read(&counters->verified) + counter_read(&counters->cache_hits);
}

static void the_same_token_on_the_connection_is_not_hashed_again(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(verify(f, TOKEN_USE_EXEC), STATUS_OK);
    assert_int_equal(verify(f, TOKEN_USE_EXEC), STATUS_OK);
    assert_int_equal(asked(f), 1);
    f->clock.now_ms += 2000; /* keys may have been withdrawn meanwhile */
    assert_int_equal(verify(f, TOKEN_USE_EXEC), STATUS_OK);
    assert_int_equal(asked(f), 2);
}

static void a_remembered_token_expires_all_the_same(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(verify(f, TOKEN_USE_EXEC), STATUS_OK);
    f->clock.wall_ms += 10000 + 30000 + 1000;
    assert_int_equal(verify(f, TOKEN_USE_EXEC), STATUS_TOKEN_EXPIRED);
}

static void a_token_is_remembered_for_its_use_alone(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(verify(f, TOKEN_USE_EXEC), STATUS_OK);
    assert_int_equal(verify(f, TOKEN_USE_ACCESS), STATUS_TOKEN_AUDIENCE);
}

static void another_token_is_judged_by_itself(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(verify(f, TOKEN_USE_EXEC), STATUS_OK);
    f->token.memory[f->token.start + f->token.len - 2] ^= 1;
    assert_int_not_equal(verify(f, TOKEN_USE_EXEC), STATUS_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_same_token_on_the_connection_is_not_hashed_again),
        TEST(a_remembered_token_expires_all_the_same),
        TEST(a_token_is_remembered_for_its_use_alone),
        TEST(another_token_is_judged_by_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
