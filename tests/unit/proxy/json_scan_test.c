#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/json_scan.h"

static void a_top_level_member_is_found(void **state)
{
    static const struct {
        const char *text, *raw; /* NULL: not found */
    } rows[] = {
        { "{\"k\":1}", "1" },
        { " { \"a\" : {\"k\":2} , \"k\" : \"x\\\"y\" } ", "\"x\\\"y\"" },
        { "{\"a\":[\"k\",{\"k\":3}],\"k\":{\"b\":[]}}", "{\"b\":[]}" },
        { "{\"a\":\"}\",\"k\":null}", "null" },
        { "{\"k\":true,\"k\":false}", "true" },
        { "{}", NULL },
        { "{\"a\":1}", NULL },
        { "[\"k\",1]", NULL },
        { "\"k\"", NULL },
        { "", NULL },
        { "{\"k\"", NULL },
        { "{\"k\":", NULL },
        { "{\"k\":}", NULL },
        { "{\"a\":\"un", NULL },
        { "{\"a\":\"un\\", NULL },
        { "{\"a\":[[[,\"k\":1}", NULL },
        { "{\"a\":1 \"k\":2}", NULL },
        { "{\"a\n\":1,\"k\":2}", NULL },
    };
    struct slice raw;
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool found = json_scan_member(slice_from_string(rows[i].text), SLICE("k"), &raw);
        assert_int_equal(found, rows[i].raw != NULL);
        if (found)
            assert_true(slice_equal(raw, slice_from_string(rows[i].raw)));
    }
}

static void deep_nesting_costs_no_stack(void **state)
{
    struct buf text = { 0 };
    struct slice raw;
    (void)state;

    buf_append(&text, SLICE("{\"a\":"));
    for (int i = 0; i < 1000000; i++)
        buf_append_byte(&text, '[');
    assert_false(json_scan_member(buf_slice(&text), SLICE("k"), &raw));
    buf_deinit(&text);
}

static void strings_are_read_as_text(void **state)
{
    static const struct {
        const char *raw, *text; /* NULL: refused */
    } rows[] = {
        { "\"\"", "" },
        { "\"a\\\"\\\\\\/\\n\\t\"", "a\"\\/\n\t" },
        { "\"\\u00e4\\u20ac\\ud83d\\ude00\"", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
        { "\"\\ud83d\"", "\xef\xbf\xbd" },
        { "\"\\ud83dx\"", "\xef\xbf\xbdx" },
        { "\"\\u00G0\"", NULL },
        { "\"\\u00\"", NULL },
        { "\"\\x\"", NULL },
        { "\"\xff\"", NULL },
        { "\"a\"b\"", NULL },
        { "\"", NULL },
        { "1", NULL },
        { "", NULL },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf text = { 0 };
        bool is_ok = json_scan_text(slice_from_string(rows[i].raw), &text);
        assert_int_equal(is_ok, rows[i].text != NULL);
        if (is_ok)
            assert_true(slice_equal(buf_slice(&text), slice_from_string(rows[i].text)));
        else
            assert_int_equal(text.len, 0);
        buf_deinit(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_top_level_member_is_found),
        cmocka_unit_test(deep_nesting_costs_no_stack),
        cmocka_unit_test(strings_are_read_as_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
