/* tests/unit/base/base64_test.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base64.h"

static void every_length_survives_a_round_trip(void **state)
{
    (void)state;
    for (size_t len = 0; len < 70; len++) {
        unsigned char bytes[70];
        struct buf text = { 0 }, url = { 0 }, back = { 0 };

        for (size_t i = 0; i < len; i++)
            bytes[i] = (unsigned char)(i * 37 + len * 11 + 0xf0);
        base64_encode(slice_of(bytes, len), &text);
        base64url_encode(slice_of(bytes, len), &url);
        assert_int_equal(text.len % 4, 0);
        assert_true(base64_decode(buf_slice(&text), &back));
        assert_true(base64url_decode(buf_slice(&url), &back));
        assert_int_equal(back.len, 2 * len);
        assert_true(slice_equal(slice_first(buf_slice(&back), len), slice_of(bytes, len)));
        assert_true(slice_equal(slice_skip(buf_slice(&back), len), slice_of(bytes, len)));
        buf_deinit(&text);
        buf_deinit(&url);
        buf_deinit(&back);
    }
}

static void url_form_is_strict(void **state)
{
    static const char *const bad[] = { "A",
                                       "AAAAA",
                                       "AB",
                                       "AAB",
                                       "AA==",
                                       "AA A",
                                       "AA+A",
                                       "AA/A",
                                       "AAAA\n",
                                       ("A\xff"
                                        "AA") };
    struct buf into = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(base64url_decode(slice_from_string(bad[i]), &into));
    assert_int_equal(into.len, 0);
    assert_true(base64url_decode(SLICE("_-8"), &into));
    assert_true(slice_equal(buf_slice(&into), SLICE("\xff\xef")));
    buf_deinit(&into);
}

static void standard_form_takes_missing_padding_but_not_wrong_padding(void **state)
{
    static const char *const bad[] = { "AA=", "A===", "====", "AA==AA==", "=", "AA=A" };
    struct buf into = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(base64_decode(slice_from_string(bad[i]), &into));
    assert_true(base64_decode(SLICE("aGk"), &into));
    assert_true(base64_decode(SLICE("aGk="), &into));
    assert_true(slice_equal(buf_slice(&into), SLICE("hihi")));
    buf_deinit(&into);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_survives_a_round_trip),
        cmocka_unit_test(url_form_is_strict),
        cmocka_unit_test(standard_form_takes_missing_padding_but_not_wrong_padding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
