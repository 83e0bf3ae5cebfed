/* Which addresses the gateway may connect to: the table of SECURITY.md, "Routing". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "upstream/allow_list.h"

static bool admits(const char *network_text, const char *address_text)
{
    struct allow_list list;
    struct network network;
    struct address address;

    assert_int_equal(network_parse(slice_from_string(network_text), &network), STATUS_OK);
    assert_int_equal(address_parse(slice_from_string(address_text), &address), STATUS_OK);
    allow_list_init(&list, &network, 1);

    bool result = allow_list_admits(&list, &address);

    allow_list_deinit(&list);
    return result;
}

static void a_listed_network_is_open(void **state)
{
    (void)state;
    assert_true(admits("10.0.0.0/8", "10.1.2.3:49983"));
    assert_true(admits("10.1.2.3", "10.1.2.3:1"));
    assert_true(admits("0.0.0.0/0", "192.0.2.1:80"));
    assert_true(admits("fd00::/8", "[fd12::1]:80"));
    assert_false(admits("10.0.0.0/8", "11.0.0.1:80"));
    assert_false(admits("fd00::/8", "[fe12::1]:80"));
    assert_false(admits("10.1.2.3", "10.1.2.4:80"));
}

static void special_addresses_need_a_network_in_their_own_block(void **state)
{
    static const struct {
        const char *address, *inside;
    } special[] = {
        { "127.0.0.1:80", "127.0.0.0/8" },
        { "127.9.9.9:80", "127.9.9.9" },
        { "0.0.0.0:80", "0.0.0.0" },
        { "0.1.2.3:80", "0.0.0.0/8" },
        { "169.254.1.1:80", "169.254.0.0/16" },
        { "169.254.169.254:80", "169.254.169.254" },
        { "224.0.0.1:80", "224.0.0.0/4" },
        { "255.255.255.255:80", "255.255.255.255" },
        { "[::1]:80", "::1" },
        { "[::]:80", "::/96" },
        { "[::127.0.0.1]:80", "::127.0.0.1" },
        { "[fe80::1]:80", "fe80::/10" },
        { "[ff02::1]:80", "ff02::/16" },
        { "[fd00:ec2::254]:80", "fd00:ec2::254" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
        assert_false(admits("0.0.0.0/0", special[i].address));
        assert_false(admits("::/0", special[i].address));
        assert_true(admits(special[i].inside, special[i].address));
    }
    assert_false(admits("fd00::/8", "[fd00:ec2::254]:80"));
    assert_true(admits("fd00::/8", "[fd00:ec2::255]:80"));
    assert_false(admits("::/96", "[::1]:80"));
    assert_false(admits("126.0.0.0/7", "127.0.0.1:80"));
}

static void mapped_addresses_are_seen_as_ipv4(void **state)
{
    (void)state;
    assert_true(admits("10.0.0.0/8", "[::ffff:10.0.0.1]:80"));
    assert_true(admits("127.0.0.0/8", "[::ffff:127.0.0.1]:80"));
    assert_false(admits("::/0", "[::ffff:127.0.0.1]:80"));
    assert_false(admits("0.0.0.0/0", "[::ffff:169.254.169.254]:80"));
}

static bool admits_beside(const char *listener, const char *text)
{
    struct network any[2];
    struct allow_list list;
    struct address own, address;

    assert_int_equal(network_parse(SLICE("0.0.0.0/0"), &any[0]), STATUS_OK);
    assert_int_equal(network_parse(SLICE("127.0.0.0/8"), &any[1]), STATUS_OK);
    allow_list_init(&list, any, 2);
    assert_int_equal(address_parse(slice_from_string(listener), &own), STATUS_OK);
    assert_int_equal(address_parse(slice_from_string(text), &address), STATUS_OK);
    allow_list_set_own(&list, &own, 1);

    bool does = allow_list_admits(&list, &address);

    allow_list_deinit(&list);
    return does;
}

static void our_own_listeners_are_never_admitted(void **state)
{
    (void)state;
    assert_false(admits_beside("127.0.0.1:443", "127.0.0.1:443"));
    assert_false(admits_beside("127.0.0.1:443", "[::ffff:127.0.0.1]:443"));
    assert_true(admits_beside("127.0.0.1:443", "127.0.0.1:444"));
    assert_true(admits_beside("127.0.0.1:443", "127.0.0.2:443"));
    assert_false(admits_beside("*:443", "127.0.0.1:443"));
    assert_false(admits_beside("0.0.0.0:443", "127.0.0.77:443"));
    assert_true(admits_beside("0.0.0.0:443", "192.0.2.1:443"));
    assert_true(admits_beside("unix:/run/x.sock", "127.0.0.1:443"));
}

static void port_0_unix_sockets_and_an_empty_list_admit_nothing(void **state)
{
    struct allow_list list;
    struct address address;

    (void)state;
    assert_false(admits("10.0.0.0/8", "10.0.0.1:0"));
    assert_false(admits("0.0.0.0/0", "unix:/run/x.sock"));
    allow_list_init(&list, NULL, 0);
    assert_int_equal(address_parse(SLICE("10.0.0.1:80"), &address), STATUS_OK);
    assert_false(allow_list_admits(&list, &address));
    allow_list_deinit(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listed_network_is_open),
        cmocka_unit_test(special_addresses_need_a_network_in_their_own_block),
        cmocka_unit_test(mapped_addresses_are_seen_as_ipv4),
        cmocka_unit_test(our_own_listeners_are_never_admitted),
        cmocka_unit_test(port_0_unix_sockets_and_an_empty_list_admit_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
