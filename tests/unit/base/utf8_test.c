/* tests/unit/base/utf8_test.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/utf8.h"

static void well_formed_text_is_valid(void **state)
{
    (void)state;
    assert_true(utf8_is_valid(SLICE("")));
    assert_true(
        utf8_is_valid(SLICE("plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf")));
    assert_true(utf8_is_valid(SLICE("\xed\x9f\xbf\xee\x80\x80\x00")));
}

static void ill_formed_text_is_not(void **state)
{
    static const char *const bad[] = { "\x80",
                                       "\xc0\x80",
                                       "\xc1\xbf",
                                       "\xe0\x9f\xbf",
                                       "\xed\xa0\x80",
                                       "\xf0\x8f\xbf\xbf",
                                       "\xf4\x90\x80\x80",
                                       "\xf5\x80\x80\x80",
                                       "\xff",
                                       "a\xe2\x82",
                                       ("\xc3"
                                        "a"),
                                       "\xf0\x9f\x98" };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(utf8_is_valid(slice_from_string(bad[i])));
}

static void cut_sequence_at_the_tail_is_told(void **state)
{
    (void)state;
    assert_int_equal(utf8_incomplete_tail_len(SLICE("ab")), 0);
    assert_int_equal(utf8_incomplete_tail_len(SLICE("ab\xe2\x82")), 2);
    assert_int_equal(utf8_incomplete_tail_len(SLICE("\xf0\x9f\x98")), 3);
    assert_int_equal(utf8_incomplete_tail_len(SLICE("ab\xc3")), 1);
    assert_int_equal(utf8_incomplete_tail_len(SLICE("ab\xc3\xa4")), 0);
    assert_int_equal(utf8_incomplete_tail_len(SLICE("\xe0\x80")), 0);
    assert_int_equal(utf8_incomplete_tail_len(SLICE("\x80\x80\x80\x80")), 0);
    assert_int_equal(utf8_incomplete_tail_len(SLICE("")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_formed_text_is_valid),
        cmocka_unit_test(ill_formed_text_is_not),
        cmocka_unit_test(cut_sequence_at_the_tail_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
