/* Which host is meant (port_host.h), and under which names an app knows itself (port_rewrite.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/port_host.h"
#include "proxy/port_rewrite.h"

static const char *const exec_hosts[] = { "exec.computer.example.com", "*" };
static const char *const domains[] = { "computer.example.com", "localhost" };
static const char *const reserved[] = { "exec", "api" };

static struct host_names names_with(size_t exec_count, size_t domain_count)
{
    return (struct host_names){ exec_hosts, exec_count, domains, domain_count, reserved, 2 };
}

static void a_name_is_one_kind_of_host(void **state)
{
    static const struct {
        const char *host;
        enum host_choice choice;
        bool falls_to_exec; /* where "*" is an exec host */
    } rows[] = {
        { "exec.computer.example.com", HOST_IS_EXEC, false },
        { "3000--box.computer.example.com", HOST_IS_LOOKED_UP, false },
        { "box.computer.example.com", HOST_IS_LOOKED_UP, false },
        { "api--box.computer.example.com", HOST_IS_LOOKED_UP, false }, /* a label, not a handle */
        { "api.computer.example.com", HOST_IS_NOBODYS, false },
        { "3000--api.computer.example.com", HOST_IS_NOBODYS, false },
        { "x--exec.localhost", HOST_IS_NOBODYS, false },
        { "a--b--api.computer.example.com", HOST_IS_LOOKED_UP, false }, /* handle b--api */
        { "computer.example.com", HOST_IS_LOOKED_UP, true },
        { "app.customer.example", HOST_IS_LOOKED_UP, true },
        { "api.customer.example", HOST_IS_LOOKED_UP, true },
        { "xcomputer.example.com", HOST_IS_LOOKED_UP, true },
        { "localhost", HOST_IS_LOOKED_UP, true },
        { "3000--dev.localhost", HOST_IS_LOOKED_UP, false },
    };
    struct host_names strict = names_with(1, 2), open = names_with(2, 2);
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct slice host = slice_from_string(rows[i].host);
        assert_int_equal(host_choose(&strict, host), rows[i].choice);
        assert_int_equal(host_choose(&open, host), rows[i].choice);
        assert_false(host_falls_to_exec(&strict, host));
        assert_int_equal(host_falls_to_exec(&open, host), rows[i].falls_to_exec);
    }
}

static void an_address_is_never_published(void **state)
{
    struct host_names strict = names_with(1, 2), open = names_with(2, 2);
    (void)state;

    assert_int_equal(host_choose(&strict, SLICE("127.0.0.1")), HOST_IS_NOBODYS);
    assert_int_equal(host_choose(&strict, SLICE("[::1]")), HOST_IS_NOBODYS);
    assert_int_equal(host_choose(&open, SLICE("127.0.0.1")), HOST_IS_EXEC);
    assert_int_equal(host_choose(&open, SLICE("[::1]")), HOST_IS_EXEC);
}

static void the_label_stands_before_the_first_two_hyphens(void **state)
{
    static const struct {
        const char *host, *label;
    } rows[] = {
        { "3000--box.computer.example.com", "3000" }, { "web--a--b.computer.example.com", "web" },
        { "box.computer.example.com", "" },           { "a-b.computer.example.com", "" },
        { "a--b.c.computer.example.com", "" },        { "3000--box.elsewhere.example", "" },
    };
    struct host_names names = names_with(1, 2), bare = names_with(1, 0);
    char text[64];
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct slice label = host_label(&names, slice_from_string(rows[i].host));
        assert_string_equal(slice_to_string(label, text, sizeof(text)), rows[i].label);
    }
    assert_true(slice_equal(host_label(&bare, SLICE("3000--box.x.example")), SLICE("3000")));
}

struct rewrite_row {
    const char *mode, *before, *after;
};

typedef struct slice rewrite_fn(const struct port_names *names, struct slice value,
                                struct arena *arena);

static void check_rows(const struct rewrite_row *rows, size_t count, rewrite_fn *rewrite)
{
    struct arena arena = { 0 };
    char text[256];

    for (size_t i = 0; i < count; i++) {
        const struct port_names names = { .mode = slice_from_string(rows[i].mode),
                                          .port = 3000,
                                          .scheme = SLICE("https"),
                                          .authority = SLICE("3000--box.example.com") };
        struct slice got = rewrite(&names, slice_from_string(rows[i].before), &arena);
        assert_string_equal(slice_to_string(got, text, sizeof(text)), rows[i].after);
    }
    arena_deinit(&arena);
}

static struct slice host_of(const struct port_names *names, struct slice value, struct arena *arena)
{
    (void)value;
    return port_host_value(names, arena);
}

static void host_origin_and_referer_are_rewritten_together(void **state)
{
    static const struct rewrite_row hosts[] = {
        { "preserve", "", "3000--box.example.com" },
        { "", "", "3000--box.example.com" },
        { "localhost", "", "localhost:3000" },
        { "app.internal:81", "", "app.internal:81" },
    };
    static const struct rewrite_row origins[] = {
        { "preserve", "https://3000--box.example.com", "https://3000--box.example.com" },
        { "localhost", "https://3000--box.example.com", "http://localhost:3000" },
        { "localhost", "https://3000--box.example.com:443", "http://localhost:3000" },
        { "localhost", "https://other.example.com", "https://other.example.com" },
        { "localhost", "null", "null" },
        { "app.internal", "https://3000--box.example.com", "https://app.internal" },
    };
    static const struct rewrite_row referers[] = {
        { "preserve", "https://3000--box.example.com/a?b=c#d",
          "https://3000--box.example.com/a?b=c#d" },
        { "preserve", "https://3000--box.example.com/a?access_token=x",
          "https://3000--box.example.com/a" },
        { "localhost", "https://3000--box.example.com/a?b=c", "http://localhost:3000/a?b=c" },
        { "localhost", "https://3000--box.example.com/?x=1&token=y", "http://localhost:3000/" },
        { "localhost", "https://search.example/?q=3000--box.example.com",
          "https://search.example/?q=3000--box.example.com" },
    };
    (void)state;

    check_rows(hosts, sizeof(hosts) / sizeof(hosts[0]), host_of);
    check_rows(origins, sizeof(origins) / sizeof(origins[0]), port_origin_value);
    check_rows(referers, sizeof(referers) / sizeof(referers[0]), port_referer_value);
}

static void a_location_that_names_the_app_comes_back_under_its_public_name(void **state)
{
    static const struct rewrite_row rows[] = {
        { "localhost", "http://localhost:3000/login?x=1",
          "https://3000--box.example.com/login?x=1" },
        { "localhost", "http://localhost:3001/", "http://localhost:3001/" },
        { "localhost", "/relative", "/relative" },
        { "localhost", "https://elsewhere.example/?u=http://localhost:3000/",
          "https://elsewhere.example/?u=http://localhost:3000/" },
        { "preserve", "http://localhost:3000/", "http://localhost:3000/" },
        { "app.internal", "http://app.internal/x", "https://3000--box.example.com/x" },
    };
    (void)state;

    check_rows(rows, sizeof(rows) / sizeof(rows[0]), port_location_value);
}

static void a_clean_url_stays_on_its_host(void **state)
{
    static const struct {
        const char *target, *location;
    } rows[] = {
        { "/", "/" },
        { "/a//b?c", "/a//b?c" },
        { "//evil.example/", "/.//evil.example/" },
        { "/\\evil.example", "/./\\evil.example" },
    };
    struct arena arena = { 0 };
    char text[64];
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(
            slice_to_string(port_local_location(slice_from_string(rows[i].target), &arena), text,
                            sizeof(text)),
            rows[i].location);
    assert_true(slice_equal(port_query_encode(SLICE("https://a.b/?c=d&e"), &arena),
                            SLICE("https%3A%2F%2Fa.b%2F%3Fc%3Dd%26e")));
    arena_deinit(&arena);
}

static void the_forwarded_port_is_the_public_one(void **state)
{
    struct port_names names = { .scheme = SLICE("https"), .authority = SLICE("a.example") };
    (void)state;

    assert_true(slice_equal(port_forwarded_port(&names), SLICE("443")));
    names.scheme = SLICE("http");
    assert_true(slice_equal(port_forwarded_port(&names), SLICE("80")));
    names.authority = SLICE("a.example:8080");
    assert_true(slice_equal(port_forwarded_port(&names), SLICE("8080")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_one_kind_of_host),
        cmocka_unit_test(an_address_is_never_published),
        cmocka_unit_test(the_label_stands_before_the_first_two_hyphens),
        cmocka_unit_test(host_origin_and_referer_are_rewritten_together),
        cmocka_unit_test(a_location_that_names_the_app_comes_back_under_its_public_name),
        cmocka_unit_test(a_clean_url_stays_on_its_host),
        cmocka_unit_test(the_forwarded_port_is_the_public_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
