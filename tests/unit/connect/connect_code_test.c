/* Codes, their names, and their HTTP statuses, against the tables of the Connect protocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "connect/connect_code.h"

static void every_code_has_one_name_that_reads_back(void **state)
{
    enum connect_code read_back = CONNECT_OK;

    (void)state;
    for (unsigned i = 1; i < CONNECT_CODE_COUNT; i++) {
        struct slice text = slice_from_string(connect_code_text((enum connect_code)i));
        assert_true(connect_code_from_text(text, &read_back));
        assert_int_equal(read_back, i);
    }
    assert_false(connect_code_from_text(SLICE("ok"), &read_back));
    assert_false(connect_code_from_text(SLICE("Canceled"), &read_back));
    assert_false(connect_code_from_text(SLICE("cancelled"), &read_back));
    assert_false(connect_code_from_text(SLICE(""), &read_back));
}

static void unary_errors_have_the_statuses_of_the_protocol(void **state)
{
    static const unsigned expected[CONNECT_CODE_COUNT] = { 200, 499, 500, 400, 504, 404,
                                                           409, 403, 429, 400, 409, 400,
                                                           501, 500, 503, 500, 401 };

    (void)state;
    for (unsigned i = 0; i < CONNECT_CODE_COUNT; i++)
        assert_int_equal(connect_code_http((enum connect_code)i), expected[i]);
}

static void a_bare_http_status_means_what_clients_take_it_for(void **state)
{
    (void)state;
    assert_int_equal(connect_code_of_http(400), CONNECT_INTERNAL);
    assert_int_equal(connect_code_of_http(401), CONNECT_UNAUTHENTICATED);
    assert_int_equal(connect_code_of_http(403), CONNECT_PERMISSION_DENIED);
    assert_int_equal(connect_code_of_http(404), CONNECT_UNIMPLEMENTED);
    assert_int_equal(connect_code_of_http(429), CONNECT_UNAVAILABLE);
    assert_int_equal(connect_code_of_http(502), CONNECT_UNAVAILABLE);
    assert_int_equal(connect_code_of_http(503), CONNECT_UNAVAILABLE);
    assert_int_equal(connect_code_of_http(504), CONNECT_UNAVAILABLE);
    assert_int_equal(connect_code_of_http(418), CONNECT_UNKNOWN);
    assert_int_equal(connect_code_of_http(0), CONNECT_UNKNOWN);
}

static void outcomes_have_the_code_of_their_row(void **state)
{
    (void)state;
    assert_int_equal(connect_code_of_status(STATUS_TOKEN_EXPIRED), CONNECT_UNAUTHENTICATED);
    assert_int_equal(connect_code_of_status(STATUS_TOKEN_COMPUTER), CONNECT_PERMISSION_DENIED);
    assert_int_equal(connect_code_of_status(STATUS_COMPUTER_UNKNOWN), CONNECT_NOT_FOUND);
    assert_int_equal(connect_code_of_status(STATUS_LIMIT_REACHED), CONNECT_RESOURCE_EXHAUSTED);
    assert_int_equal(connect_code_of_status(STATUS_CANCELED), CONNECT_CANCELED);
    assert_int_equal(connect_code_of_status(STATUS_INTERNAL), CONNECT_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_one_name_that_reads_back),
        cmocka_unit_test(unary_errors_have_the_statuses_of_the_protocol),
        cmocka_unit_test(a_bare_http_status_means_what_clients_take_it_for),
        cmocka_unit_test(outcomes_have_the_code_of_their_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
