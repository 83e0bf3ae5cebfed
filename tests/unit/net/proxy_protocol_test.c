/* tests/unit/net/proxy_protocol_test.c — one table of headers, whole and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <string.h>
#include <cmocka.h>

#include "net/proxy_protocol.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define TCP4 "\x0a\x00\x00\x01\x7f\x00\x00\x01\x30\x39\x01\xbb"
#define ZERO8 "\0\0\0\0\0\0\0\0"
#define TCP6 "\x20\x01\x0d\xb8" ZERO8 "\0\0\0\1" ZERO8 ZERO8 "\x30\x39\x01\xbb"
#define ZERO72 ZERO8 ZERO8 ZERO8 ZERO8 ZERO8 ZERO8 ZERO8 ZERO8 ZERO8

struct row {
    struct slice bytes;
    enum status status;
    const char *peer; /* NULL: none announced */
};

static const struct row rows[] = {
    { SLICE("PROXY TCP4 10.0.0.1 127.0.0.1 12345 443\r\n"), STATUS_OK, "10.0.0.1:12345" },
    { SLICE("PROXY TCP6 2001:db8::1 ::1 12345 443\r\n"), STATUS_OK, "[2001:db8::1]:12345" },
    { SLICE("PROXY UNKNOWN\r\n"), STATUS_OK, NULL },
    { SLICE("PROXY UNKNOWN ffff:f...f whatever 1 2\r\n"), STATUS_OK, NULL },
    { SLICE("PROXY TCP4 10.0.0.1 127.0.0.1 0 65535\r\n"), STATUS_OK, "10.0.0.1:0" },

    { SLICE("PROXY TCP4 10.0.0.1 127.0.0.1 12345 443\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY TCP4 10.0.0.1 127.0.0.1 12345 443 \r\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY TCP4  10.0.0.1 127.0.0.1 12345 443\r\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY TCP4 10.0.0.1 127.0.0.1 12345\r\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY TCP4 10.0.0.1 127.0.0.1 012 443\r\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY TCP4 10.0.0.1 127.0.0.1 65536 443\r\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY TCP4 10.0.0.1 127.0.0.1 -1 443\r\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY TCP4 ::1 127.0.0.1 1 443\r\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY TCP4 * 127.0.0.1 1 443\r\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY TCP4 unix 127.0.0.1 1 443\r\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY TCP4 unix:/x 127.0.0.1 1 443\r\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY TCP6 10.0.0.1 ::1 1 443\r\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY TCP6 [::1] ::1 1 443\r\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY TCP4 10.0.0.256 127.0.0.1 1 443\r\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY UDP4 10.0.0.1 127.0.0.1 1 443\r\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY \r\n"), STATUS_MALFORMED, NULL },
    { SLICE("PROXY TCP4 10.0.0.1\r 127.0.0.1 1 443\r\n"), STATUS_MALFORMED, NULL },
    { SLICE("proxy TCP4 10.0.0.1 127.0.0.1 1 443\r\n"), STATUS_MALFORMED, NULL },
    { SLICE("GET / HTTP/1.1\r\n"), STATUS_MALFORMED, NULL },

    { SLICE(V2 "\x21\x11\x00\x0c" TCP4), STATUS_OK, "10.0.0.1:12345" },
    { SLICE(V2 "\x21\x21\x00\x24" TCP6), STATUS_OK, "[2001:db8::1]:12345" },
    { SLICE(V2 "\x21\x11\x00\x13" TCP4 "\x04\x00\x01x\x05\x00\x00"), STATUS_OK, "10.0.0.1:12345" },
    { SLICE(V2 "\x20\x00\x00\x00"), STATUS_OK, NULL },
    { SLICE(V2 "\x20\x11\x00\x0c" TCP4), STATUS_OK, NULL },
    { SLICE(V2 "\x21\x00\x00\x03"
               "abc"),
      STATUS_OK, NULL },
    { SLICE(V2 "\x21\x31\x00\xd8" ZERO72 ZERO72 ZERO72), STATUS_OK, NULL },

    { SLICE(V2 "\x22\x11\x00\x0c" TCP4), STATUS_MALFORMED, NULL },        /* command */
    { SLICE(V2 "\x11\x11\x00\x0c" TCP4), STATUS_MALFORMED, NULL },        /* version */
    { SLICE(V2 "\x21\x12\x00\x0c" TCP4), STATUS_MALFORMED, NULL },        /* datagrams */
    { SLICE(V2 "\x21\x11\x00\x0b" TCP4), STATUS_MALFORMED, NULL },        /* too short */
    { SLICE(V2 "\x21\x21\x00\x0c" TCP4), STATUS_MALFORMED, NULL },        /* too short */
    { SLICE(V2 "\x21\x31\x00\x0c" TCP4), STATUS_MALFORMED, NULL },        /* too short */
    { SLICE(V2 "\x21\x11\x00\x0d" TCP4 "\x04"), STATUS_MALFORMED, NULL }, /* half a TLV */
    { SLICE(V2 "\x21\x11\x00\x10" TCP4 "\x04\x00\x02x"), STATUS_MALFORMED, NULL },
    { SLICE(V2 "\x21\x11\x02\x09"), STATUS_MALFORMED, NULL }, /* 537 bytes */
    { SLICE(V2 "\x21\x11\xff\xff"), STATUS_MALFORMED, NULL },
    { SLICE("\r\n\r\n\0\r\nQUIX"), STATUS_MALFORMED, NULL },
};

static void check(const struct row *row, struct slice bytes)
{
    struct address peer;
    size_t used = 0;
    char text[ADDRESS_TEXT_BYTES];
    enum status status = proxy_protocol_parse(bytes, &used, &peer);

    assert_int_equal(status, row->status);
    if (status != STATUS_OK)
        return;
    assert_int_equal(used, row->bytes.len);
    if (row->peer != NULL)
        assert_string_equal(address_text(&peer, text), row->peer);
    else
        assert_int_equal(peer.len, 0);
}

static void headers_are_taken_or_refused_as_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check(&rows[i], rows[i].bytes);
}

static void bytes_behind_the_header_are_not_its_own(void **state)
{
    char bytes[1024];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].status != STATUS_OK)
            continue;
        memset(bytes, 'x', sizeof(bytes));
        memcpy(bytes, rows[i].bytes.ptr, rows[i].bytes.len);
        check(&rows[i], slice_of(bytes, sizeof(bytes)));
    }
}

static void every_start_of_a_header_waits_for_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t len = 0; len < rows[i].bytes.len && rows[i].status == STATUS_OK; len++) {
            struct address peer;
            size_t used;

            assert_int_equal(proxy_protocol_parse(slice_first(rows[i].bytes, len), &used, &peer),
                             STATUS_AGAIN);
        }
    }
}

static void first_version_ends_within_107_bytes(void **state)
{
    char bytes[200] = "PROXY UNKNOWN ";
    struct address peer;
    size_t used;

    (void)state;
    memset(bytes + 14, 'x', sizeof(bytes) - 14);
    assert_int_equal(proxy_protocol_parse(slice_of(bytes, 106), &used, &peer), STATUS_AGAIN);
    assert_int_equal(proxy_protocol_parse(slice_of(bytes, 107), &used, &peer), STATUS_MALFORMED);
    memcpy(bytes + 105, "\r\n", 2);
    assert_int_equal(proxy_protocol_parse(slice_of(bytes, 107), &used, &peer), STATUS_OK);
    assert_int_equal(used, 107);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_taken_or_refused_as_the_table_says),
        cmocka_unit_test(bytes_behind_the_header_are_not_its_own),
        cmocka_unit_test(every_start_of_a_header_waits_for_more),
        cmocka_unit_test(first_version_ends_within_107_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
