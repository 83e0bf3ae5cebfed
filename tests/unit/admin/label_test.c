/* The names of published ports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/label.h"

static void labels_that_a_host_may_carry_are_good(void **state)
{
    static const char *const good[] = { "api", "a", "my-app", "v2", "3000", "x-1-y" };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_null(port_label_wrong(slice_from_string(good[i]), 3000));
}

static void labels_that_would_split_wrongly_or_are_no_dns_labels_are_refused(void **state)
{
    static const char *const bad[] = { "",    "-a",  "a-",  "a--b", "xn--p1ai", "API",
                                       "a.b", "a_b", "a b", "é",    "--",       "*" };
    char long_label[LABEL_BYTES_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_non_null(port_label_wrong(slice_from_string(bad[i]), 3000));
    memset(long_label, 'a', sizeof(long_label));
    assert_non_null(port_label_wrong(slice_of(long_label, sizeof(long_label)), 3000));
    assert_null(port_label_wrong(slice_of(long_label, LABEL_BYTES_MAX), 3000));
}

static void a_number_as_label_is_the_port_itself(void **state)
{
    (void)state;
    assert_null(port_label_wrong(SLICE("8080"), 8080));
    assert_non_null(port_label_wrong(SLICE("8080"), 3000));
}

static void names_of_services_are_no_handles(void **state)
{
    static const char *const reserved[] = { "exec", "api", "www", "admin" };

    (void)state;
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        assert_non_null(handle_wrong(slice_from_string(reserved[i])));
    assert_null(handle_wrong(SLICE("execs")));
    assert_null(handle_wrong(SLICE("my-machine")));
    assert_non_null(handle_wrong(SLICE("my--machine")));
}

static void label_and_handle_must_fit_one_dns_label(void **state)
{
    struct buf name = { 0 };
    char handle[60];

    (void)state;
    memset(handle, 'h', sizeof(handle));
    assert_true(port_hostname(SLICE("api"), SLICE("box"), SLICE("computer.test"), &name));
    assert_string_equal(buf_text(&name), "api--box.computer.test");
    buf_clear(&name);
    assert_true(port_hostname(SLICE("a"), slice_of(handle, 60), SLICE("x"), &name));
    buf_clear(&name);
    assert_false(port_hostname(SLICE("ab"), slice_of(handle, 60), SLICE("x"), &name));
    assert_int_equal(name.len, 0);
    buf_deinit(&name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_that_a_host_may_carry_are_good),
        cmocka_unit_test(labels_that_would_split_wrongly_or_are_no_dns_labels_are_refused),
        cmocka_unit_test(a_number_as_label_is_the_port_itself),
        cmocka_unit_test(names_of_services_are_no_handles),
        cmocka_unit_test(label_and_handle_must_fit_one_dns_label),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
