/* tests/unit/net/name_lookup_test.c — numbers, names of this machine, and callers that go away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "net/name_lookup.h"

struct answer {
    unsigned count;
    enum status status;
    struct address address;
};

static void on_found(void *arg, enum status status, const struct address *address)
{
    struct answer *answer = arg;

    answer->count++;
    answer->status = status;
    if (status == STATUS_OK)
        answer->address = *address;
    else
        assert_null(address);
}

static int set_up(void **state)
{
    return loop_create((struct loop **)state) == STATUS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    loop_destroy((struct loop **)state);
    return 0;
}

static void wait_for(struct loop *loop, const struct answer *answer)
{
    for (unsigned i = 0; i < 500 && answer->count == 0; i++)
        loop_turn(loop, 10);
    assert_int_equal(answer->count, 1);
}

static void numbers_answer_on_the_next_turn(void **state)
{
    static const struct {
        const char *host, *text;
    } rows[] = { { "127.0.0.1", "127.0.0.1:80" }, { "::1", "[::1]:80" } };
    char text[ADDRESS_TEXT_BYTES];

    for (size_t i = 0; i < 2; i++) {
        struct answer answer = { 0 };

        assert_non_null(
            name_lookup_start(*state, slice_from_string(rows[i].host), 80, on_found, &answer));
        assert_int_equal(answer.count, 0);
        loop_turn(*state, 1000);
        assert_int_equal(answer.count, 1);
        assert_int_equal(answer.status, STATUS_OK);
        assert_string_equal(address_text(&answer.address, text), rows[i].text);
    }
}

static void names_of_this_machine_are_found(void **state)
{
    struct answer answers[20] = { 0 };

    for (size_t i = 0; i < 20; i++) /* more than there are threads */
        assert_non_null(name_lookup_start(*state, SLICE("localhost"), 8080, on_found, &answers[i]));
    for (size_t i = 0; i < 20; i++) {
        wait_for(*state, &answers[i]);
        assert_int_equal(answers[i].status, STATUS_OK);
        assert_int_equal(address_port(&answers[i].address), 8080);
        assert_int_equal(answers[i].address.storage.ss_family, AF_INET);
    }
}

static void impossible_names_are_unreachable(void **state)
{
    char long_name[300];
    const struct slice names[] = { SLICE(""), SLICE("a\0b"), slice_of(long_name, 300) };

    memset(long_name, 'a', sizeof(long_name));
    for (size_t i = 0; i < 3; i++) {
        struct answer answer = { 0 };

        assert_non_null(name_lookup_start(*state, names[i], 80, on_found, &answer));
        wait_for(*state, &answer);
        assert_int_equal(answer.status, STATUS_AGENT_UNREACHABLE);
    }
}

static void cancelled_lookups_never_answer(void **state)
{
    struct answer answer = { 0 };
    struct name_lookup *lookups[12];

    for (size_t i = 0; i < 12; i++)
        lookups[i] = name_lookup_start(*state, i % 4 == 0 ? SLICE("::1") : SLICE("localhost"), 1,
                                       on_found, &answer);
    for (size_t i = 0; i < 12; i++) {
        name_lookup_cancel(&lookups[i]);
        assert_null(lookups[i]);
        name_lookup_cancel(&lookups[i]);
    }
    for (unsigned i = 0; i < 10; i++)
        loop_turn(*state, 5);
    assert_int_equal(answer.count, 0);
}

static void loop_may_go_before_its_lookups(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        struct answer answer = { 0 };
        struct loop *loop;

        assert_int_equal(loop_create(&loop), STATUS_OK);
        for (size_t i = 0; i < 8; i++)
            assert_non_null(name_lookup_start(loop, i == 0 ? SLICE("::1") : SLICE("localhost"), 1,
                                              on_found, &answer));
        if (round % 2 == 1)
            usleep(2000);
        loop_destroy(&loop);
        assert_int_equal(answer.count, 0);
    }
    usleep(100000); /* the threads that are left free what is theirs */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(numbers_answer_on_the_next_turn),  TEST(names_of_this_machine_are_found),
        TEST(impossible_names_are_unreachable), TEST(cancelled_lookups_never_answer),
        TEST(loop_may_go_before_its_lookups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
