/* tests/unit/net/address_test.c — endpoints and networks, from text and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <string.h>
#include <sys/un.h>
#include <cmocka.h>

#include "net/address.h"

static struct address parse(const char *text)
{
    struct address address;

    assert_int_equal(address_parse(slice_from_string(text), &address), STATUS_OK);
    return address;
}

static void parsed_addresses_print_as_they_were(void **state)
{
    static const char *const texts[] = { "127.0.0.1:80", "[::1]:443", "[2001:db8::1]:0",
                                         "255.255.255.255:65535", "unix:/run/x.sock" };
    char text[ADDRESS_TEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        struct address address = parse(texts[i]);

        assert_string_equal(address_text(&address, text), texts[i]);
    }
}

static void any_address_is_both_families(void **state)
{
    char text[ADDRESS_TEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct address address = parse(i == 0 ? ":80" : "*:80");

        assert_int_equal(address.storage.ss_family, AF_INET6);
        assert_string_equal(address_text(&address, text), "[::]:80");
    }
}

static void wrong_texts_are_malformed(void **state)
{
    static const char *const texts[] = { "",
                                         "80",
                                         "127.0.0.1",
                                         "127.0.0.1:",
                                         "127.0.0.1:65536",
                                         "127.0.0.1:x",
                                         "::1:80",
                                         "[::1]",
                                         "[::1]:",
                                         "[::1]80",
                                         "[127.0.0.1]:80",
                                         "localhost:80",
                                         "1.2.3:80",
                                         "1.2.3.4:-1",
                                         "1.2.3.4:0080 ",
                                         "[fe80::1%lo]:80",
                                         "unix:",
                                         "[::1:80",
                                         "[]:80",
                                         "1.2.3.4:000080" };
    char path[200] = "unix:";
    struct address address;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(address_parse(slice_from_string(texts[i]), &address), STATUS_MALFORMED);
    memset(path + 5, 'a', sizeof(path) - 5);
    assert_int_equal(address_parse(slice_of(path, 5 + 107), &address), STATUS_OK);
    assert_int_equal(address_parse(slice_of(path, 5 + 108), &address), STATUS_MALFORMED);
    assert_int_equal(address_parse(SLICE("unix:/a\0b"), &address), STATUS_MALFORMED);
}

static void split_keeps_names(void **state)
{
    struct slice host;
    uint16_t port;

    (void)state;
    assert_int_equal(address_split(SLICE("agent-1.internal:8080"), &host, &port), STATUS_OK);
    assert_true(slice_equal(host, SLICE("agent-1.internal")));
    assert_int_equal(port, 8080);
    assert_int_equal(address_split(SLICE("[fd00::1]:1"), &host, &port), STATUS_OK);
    assert_true(slice_equal(host, SLICE("fd00::1")));
    assert_int_equal(address_split(SLICE("name"), &host, &port), STATUS_MALFORMED);
}

static void mapped_addresses_equal_plain_ones(void **state)
{
    struct address a = parse("10.0.0.1:80"), b = parse("[::ffff:10.0.0.1]:80");
    struct address c = parse("10.0.0.1:81"), u = parse("unix:/x"), v = parse("unix:/y");
    char text[ADDRESS_TEXT_BYTES];

    (void)state;
    assert_true(address_equal(&a, &b));
    assert_false(address_equal(&a, &c));
    assert_false(address_equal(&a, &u));
    assert_true(address_equal(&u, &u));
    assert_false(address_equal(&u, &v));
    assert_string_equal(address_host_text(&b, text), "10.0.0.1");
    assert_string_equal(address_host_text(&u, text), "unix");
}

static void networks_contain_their_addresses(void **state)
{
    static const struct {
        const char *network, *address;
        bool inside;
    } rows[] = {
        { "10.0.0.0/8", "10.255.0.1:1", true },
        { "10.0.0.0/8", "11.0.0.1:1", false },
        { "10.0.0.0/8", "[::ffff:10.1.1.1]:1", true },
        { "0.0.0.0/0", "1.2.3.4:1", true },
        { "0.0.0.0/0", "[2001:db8::1]:1", false },
        { "::/0", "[2001:db8::1]:1", true },
        { "fd00::/8", "[fd12::1]:1", true },
        { "fd00::/8", "[fe00::1]:1", false },
        { "192.168.1.128/25", "192.168.1.127:1", false },
        { "192.168.1.128/25", "192.168.1.128:1", true },
        { "127.0.0.1", "127.0.0.1:1", true },
        { "127.0.0.1", "127.0.0.2:1", false },
        { "::1", "[::1]:1", true },
        { "::/0", "unix:/x", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct network network;
        struct address address = parse(rows[i].address);

        assert_int_equal(network_parse(slice_from_string(rows[i].network), &network), STATUS_OK);
        assert_int_equal(network_contains(&network, &address), rows[i].inside);
    }
}

static void wrong_networks_are_malformed(void **state)
{
    static const char *const texts[] = { "",           "10.0.0.0/",   "10.0.0.0/33", "10.0.0.1/8",
                                         "fd00::/129", "fd00::1/8",   "10.0.0.0/-1", "10/8",
                                         "/8",         "10.0.0.0/8x", "localhost" };
    struct network network;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(network_parse(slice_from_string(texts[i]), &network), STATUS_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parsed_addresses_print_as_they_were),
        cmocka_unit_test(any_address_is_both_families),
        cmocka_unit_test(wrong_texts_are_malformed),
        cmocka_unit_test(split_keeps_names),
        cmocka_unit_test(mapped_addresses_equal_plain_ones),
        cmocka_unit_test(networks_contain_their_addresses),
        cmocka_unit_test(wrong_networks_are_malformed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
