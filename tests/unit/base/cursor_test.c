/* tests/unit/base/cursor_test.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cursor.h"

static void numbers_are_big_endian(void **state)
{
    struct cursor in = cursor_over(SLICE("\xff\x01\x02\x03\xfe"
                                         "rest"));

    (void)state;
    assert_int_equal(cursor_u8(&in), 0xff);
    assert_int_equal(cursor_u32(&in), 0x010203fe);
    assert_true(slice_equal(cursor_take(&in, 4), SLICE("rest")));
    assert_int_equal(cursor_status(&in), STATUS_OK);
}

static void short_read_sticks(void **state)
{
    struct cursor in = cursor_over(SLICE("abc"));

    (void)state;
    assert_int_equal(cursor_u32(&in), 0);
    assert_int_equal(cursor_u8(&in), 0);
    assert_int_equal(cursor_take(&in, 0).len, 0);
    assert_int_equal(cursor_status(&in), STATUS_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_big_endian),
        cmocka_unit_test(short_read_sticks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
