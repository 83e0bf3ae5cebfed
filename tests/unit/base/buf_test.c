/* tests/unit/base/buf_test.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

static void bytes_leave_in_the_order_they_came(void **state)
{
    struct buf buf = { 0 };
    uint8_t next_in = 0, next_out = 0;

    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        for (unsigned i = 0; i < round % 97; i++)
            buf_append_byte(&buf, (char)next_in++);
        size_t leaving = buf.len < round % 89 ? buf.len : round % 89;
        for (size_t i = 0; i < leaving; i++)
            assert_int_equal((uint8_t)buf_slice(&buf).ptr[i], next_out++);
        buf_consume(&buf, leaving);
        assert_true(buf.start + buf.len <= buf.capacity);
    }
    buf_deinit(&buf);
}

static void emptied_buf_holds_no_memory(void **state)
{
    struct buf buf = { 0 };

    (void)state;
    buf_append(&buf, SLICE("hello"));
    buf_consume(&buf, 5);
    assert_null(buf.memory);
    buf_append(&buf, SLICE_EMPTY);
    assert_null(buf.memory);
}

static void steady_queue_does_not_grow(void **state)
{
    struct buf buf = { 0 };
    char block[100] = { 0 };

    (void)state;
    buf_append(&buf, slice_of(block, sizeof(block)));
    for (unsigned i = 0; i < 10000; i++) {
        buf_append(&buf, slice_of(block, sizeof(block)));
        buf_consume(&buf, sizeof(block));
    }
    assert_true(buf.capacity <= 512);
    buf_deinit(&buf);
}

static void printf_takes_text_of_any_length(void **state)
{
    struct buf buf = { 0 };
    char text[600];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    buf_printf(&buf, "<%s|%d>", text, 42);
    assert_int_equal(buf.len, 599 + 5);
    assert_true(slice_ends_with(buf_slice(&buf), SLICE("x|42>")));
    assert_int_equal(strlen(buf_text(&buf)), buf.len);
    buf_deinit(&buf);
}

static void json_text_is_escaped_and_always_utf8(void **state)
{
    struct buf buf = { 0 };

    (void)state;
    buf_append_json_text(&buf, SLICE("a\"\\\n\t\r\x01\x7f"
                                     "\xc3\xa4"
                                     "\xff"
                                     "\xe2\x82"));
    assert_string_equal(buf_text(&buf), "a\\\"\\\\\\n\\t\\r\\u0001\\u007f"
                                        "\xc3\xa4"
                                        "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    buf_deinit(&buf);
}

/* Texts are scanned eight bytes at a time: each byte value must be judged alike at each place. */
static void json_text_is_escaped_wherever_a_byte_stands(void **state)
{
    (void)state;
    for (unsigned byte = 1; byte < 256; byte++) {
        for (size_t at = 0; at < 19; at++) {
            char text[] = "abcdefghijklmnopqrs";
            bool is_plain = byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
            struct buf buf = { 0 };

            text[at] = (char)byte;
            buf_append_json_text(&buf, slice_of(text, 19));
            assert_int_equal(buf.len == 19, is_plain);
            assert_memory_equal(buf_slice(&buf).ptr, text, is_plain ? 19 : at);
            buf_deinit(&buf);
        }
    }
}

static void numbers_are_decimal(void **state)
{
    struct buf buf = { 0 };

    (void)state;
    buf_append_u64(&buf, 0);
    buf_append_byte(&buf, ' ');
    buf_append_u64(&buf, UINT64_MAX);
    assert_string_equal(buf_text(&buf), "0 18446744073709551615");
    buf_deinit(&buf);
}

static void body_of_a_window_grows_in_few_steps(void **state)
{
    struct buf buf = { 0 };
    unsigned steps = 0;

    (void)state;
    for (unsigned i = 0; i < 64; i++) {
        const char *before = buf.memory;
        static const char piece[1024];

        buf_append(&buf, slice_of(piece, sizeof(piece)));
        steps += buf.memory != before;
    }
    assert_true(buf.len == 64 * 1024 && buf.capacity == 64 * 1024);
    assert_true(steps <= 4);
    buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_leave_in_the_order_they_came),
        cmocka_unit_test(emptied_buf_holds_no_memory),
        cmocka_unit_test(steady_queue_does_not_grow),
        cmocka_unit_test(printf_takes_text_of_any_length),
        cmocka_unit_test(json_text_is_escaped_and_always_utf8),
        cmocka_unit_test(json_text_is_escaped_wherever_a_byte_stands),
        cmocka_unit_test(numbers_are_decimal),
        cmocka_unit_test(body_of_a_window_grows_in_few_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
