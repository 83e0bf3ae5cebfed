/* tests/unit/base/status_test.c */
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/status.h"

static void every_row_has_a_name_words_and_a_status(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STATUS_COUNT; i++) {
        enum status status = (enum status)i;
        const char *name = status_name(status);

        assert_true(strlen(name) > 1);
        assert_int_equal(name[strspn(name, "abcdefghijklmnopqrstuvwxyz_")], '\0');
        assert_true(strlen(status_words(status)) > 1);
        assert_in_range(status_http(status), 200, 599);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(name, status_name((enum status)j));
    }
}

static void names_are_whole(void **state)
{
    (void)state;
    assert_string_equal(status_name(STATUS_TOKEN_EXPIRED), "token_expired");
    assert_string_equal(status_name(STATUS_COMPUTER_NOT_RUNNING), "computer_not_running");
    assert_int_equal(status_http(STATUS_TOKEN_MISSING), 401);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_a_name_words_and_a_status),
        cmocka_unit_test(names_are_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
