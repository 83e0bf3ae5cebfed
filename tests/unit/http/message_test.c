/* message_test.c — names, values, authorities. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/message.h"

static void every_known_name_is_found_and_no_other(void **state)
{
    (void)state;
    for (unsigned id = FIELD_OTHER + 1; id < FIELD_COUNT; id++)
        assert_int_equal(field_id_of(field_name((enum field_id)id)), id);
    assert_int_equal(field_id_of(SLICE("hosts")), FIELD_OTHER);
    assert_int_equal(field_id_of(SLICE("x")), FIELD_OTHER);
    assert_int_equal(field_id_of(SLICE("")), FIELD_OTHER);
    assert_int_equal(field_id_of(SLICE("content-lengtH")), FIELD_OTHER);
}

static void fields_keep_order_and_grow(void **state)
{
    struct arena arena;
    struct fields fields = { 0 };
    (void)state;

    arena_init(&arena, NULL, 0);
    for (unsigned i = 0; i < 100; i++)
        fields_add_named(&fields, &arena, SLICE("x-a"), SLICE("1"));
    fields_add(&fields, &arena, FIELD_COOKIE, SLICE("a=1"));
    fields_add_named(&fields, &arena, SLICE("cookie"), SLICE("b=2"));
    assert_int_equal(fields.count, 102);
    assert_int_equal(fields_count_of(&fields, FIELD_COOKIE), 2);
    assert_true(slice_equal(fields_value(&fields, FIELD_COOKIE), SLICE("a=1")));
    assert_null(fields_find(&fields, FIELD_HOST));
    assert_int_equal(fields_value(&fields, FIELD_HOST).len, 0);
    arena_deinit(&arena);
}

static void lists_are_searched_without_case(void **state)
{
    (void)state;
    assert_true(field_list_contains(SLICE("keep-alive , Upgrade"), SLICE("upgrade")));
    assert_false(field_list_contains(SLICE("upgraded,x upgrade"), SLICE("upgrade")));
    assert_false(field_list_contains(SLICE(""), SLICE("upgrade")));
}

static void tokens_and_values_are_told_from_others(void **state)
{
    (void)state;
    assert_true(is_token(SLICE("GET")) && is_token(SLICE("!#$%&'*+-.^_`|~09")));
    assert_false(is_token(SLICE("")) || is_token(SLICE("a b")) || is_token(SLICE("a:")) ||
                 is_token(SLICE("a\0")) || is_token(SLICE("\xc3\xa4")));
    assert_true(is_field_value(SLICE("")) && is_field_value(SLICE("a\tb c")) &&
                is_field_value(SLICE("\xc3\xa4 12345678901234567890")));
    for (int c = 0; c < 0x20; c++) {
        char text[] = "0123456789x0123456789";
        text[10] = (char)c;
        assert_int_equal(is_field_value(slice_of(text, 21)), c == '\t');
    }
    assert_false(is_field_value(SLICE("0123456\x7f"
                                      "01")) ||
                 is_field_value(SLICE(" a")) || is_field_value(SLICE("a\t")));
}

static void authorities_become_one_spelling_or_are_refused(void **state)
{
    static const struct {
        const char *in, *scheme, *out;
    } cases[] = {
        { "Example.COM", "http", "example.com" },
        { "example.com.", "http", "example.com" },
        { "example.com.:8080", "http", "example.com:8080" },
        { "example.com:80", "http", "example.com" },
        { "example.com:80", "https", "example.com:80" },
        { "example.com:443", "https", "example.com" },
        { "example.com:0443", "https", "example.com" },
        { "web--box.computer.example", "https", "web--box.computer.example" },
        { "127.0.0.1:1", "http", "127.0.0.1:1" },
        { "[::1]", "http", "[::1]" },
        { "[2001:DB8::A]:8080", "http", "[2001:db8::a]:8080" },
        { "xn--bcher-kva.example", "https", "xn--bcher-kva.example" },
        { "", "http", NULL },
        { ".", "http", NULL },
        { "a..b", "http", NULL },
        { ".a", "http", NULL },
        { "a..", "http", NULL },
        { "a_b", "http", NULL },
        { "user@a", "http", NULL },
        { "a b", "http", NULL },
        { "a/b", "http", NULL },
        { "a,b", "http", NULL },
        { "a%41", "http", NULL },
        { "a:", "http", NULL },
        { "a:0", "http", NULL },
        { "a:65536", "http", NULL },
        { "a:8 0", "http", NULL },
        { "a:80:80", "http", NULL },
        { "a:+80", "http", NULL },
        { "[::1", "http", NULL },
        { "[::1]x", "http", NULL },
        { "[::1].", "http", NULL },
        { "[1.2.3.4]", "http", NULL },
        { "[fe80::1%25eth0]", "http", NULL },
        { "[]", "http", NULL },
        { "::1", "http", NULL },
        { "\xc3\xa4.example", "http", NULL },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena;
        struct slice out;

        arena_init(&arena, NULL, 0);
        enum status status = authority_normalize(slice_from_string(cases[i].in),
                                                 slice_from_string(cases[i].scheme), &arena, &out);
        if ((status == STATUS_OK) != (cases[i].out != NULL))
            fail_msg("%s", cases[i].in);
        if (status == STATUS_OK && !slice_equal(out, slice_from_string(cases[i].out)))
            fail_msg("%s became %.*s", cases[i].in, SLICE_ARGS(out));
        arena_deinit(&arena);
    }
}

static void an_authority_over_255_bytes_is_refused(void **state)
{
    char text[300];
    struct arena arena;
    struct slice out;
    (void)state;

    memset(text, 'a', sizeof(text));
    arena_init(&arena, NULL, 0);
    assert_int_equal(authority_normalize(slice_of(text, 255), SLICE("http"), &arena, &out),
                     STATUS_OK);
    assert_int_equal(authority_normalize(slice_of(text, 256), SLICE("http"), &arena, &out),
                     STATUS_MALFORMED);
    arena_deinit(&arena);
}

static void the_host_of_an_authority_has_no_port(void **state)
{
    (void)state;
    assert_true(slice_equal(authority_host(SLICE("a.b:80")), SLICE("a.b")));
    assert_true(slice_equal(authority_host(SLICE("a.b")), SLICE("a.b")));
    assert_true(slice_equal(authority_host(SLICE("[::1]:80")), SLICE("[::1]")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_known_name_is_found_and_no_other),
        cmocka_unit_test(fields_keep_order_and_grow),
        cmocka_unit_test(lists_are_searched_without_case),
        cmocka_unit_test(tokens_and_values_are_told_from_others),
        cmocka_unit_test(authorities_become_one_spelling_or_are_refused),
        cmocka_unit_test(an_authority_over_255_bytes_is_refused),
        cmocka_unit_test(the_host_of_an_authority_has_no_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
