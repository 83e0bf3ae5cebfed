/* net/proxy_protocol.c — see proxy_protocol.h; the format is proxy-protocol.txt of HAProxy, read
 * strictly: what a balancer would not send is refused. */
#include "net/proxy_protocol.h"

#include <netinet/in.h>
#include <stdio.h>

#include "base/cursor.h"

enum {
    V1_MAX_BYTES = 107,
    V2_START_BYTES = 16, /* signature, version and command, family, length */
    V2_REST_MAX_BYTES = PROXY_HEADER_MAX_BYTES - V2_START_BYTES,
    V2_UNIX_BYTES = 216,
    COMMAND_LOCAL = 0x20,
    COMMAND_PROXY = 0x21,
    FAMILY_UNSPEC = 0x00,
    FAMILY_TCP4 = 0x11,
    FAMILY_TCP6 = 0x21,
    FAMILY_UNIX = 0x31
};

static const struct slice v1_signature = { .ptr = "PROXY ", .len = 6 };
static const struct slice v2_signature = { .ptr = "\r\n\r\n\0\r\nQUIT\n", .len = 12 };

static bool port_text_is_valid(struct slice text)
{
    uint64_t number;

    return text.len <= 5 && slice_to_u64(text, &number) && number <= UINT16_MAX &&
           (text.len == 1 || text.ptr[0] != '0');
}

static bool endpoint_parse(struct slice host, struct slice port, bool is_v6,
                           struct address *out_address)
{
    char text[ADDRESS_TEXT_BYTES];

    if (host.len == 0 || host.len > 45 || !port_text_is_valid(port) ||
        slice_equal(host, SLICE("*")))
        return false;

    int len = snprintf(text, sizeof(text), is_v6 ? "[%.*s]:%.*s" : "%.*s:%.*s", SLICE_ARGS(host),
                       SLICE_ARGS(port));

    /* "unix:80" is an address, too, but no endpoint of TCP */
    return address_parse(slice_of(text, (size_t)len), out_address) == STATUS_OK &&
           out_address->storage.ss_family == (is_v6 ? AF_INET6 : AF_INET);
}

/* "TCP4 <source> <destination> <source port> <destination port>" */
static enum status v1_line_parse(struct slice line, struct address *out_peer)
{
    struct slice family = slice_cut(&line, ' ');

    if (slice_equal(family, SLICE("UNKNOWN")))
        return STATUS_OK;

    bool is_v6 = slice_equal(family, SLICE("TCP6"));

    if (!is_v6 && !slice_equal(family, SLICE("TCP4")))
        return STATUS_MALFORMED;

    struct slice source = slice_cut(&line, ' ');
    struct slice destination = slice_cut(&line, ' ');
    struct slice source_port = slice_cut(&line, ' ');
    struct address to;

    return endpoint_parse(source, source_port, is_v6, out_peer) &&
                   endpoint_parse(destination, line, is_v6, &to)
               ? STATUS_OK
               : STATUS_MALFORMED;
}

static enum status v1_parse(struct slice bytes, size_t *out_used, struct address *out_peer)
{
    struct slice line = slice_first(bytes, V1_MAX_BYTES);
    size_t end = slice_find(line, '\n');

    if (end == line.len)
        return line.len < V1_MAX_BYTES ? STATUS_AGAIN : STATUS_MALFORMED;
    if (end < v1_signature.len || line.ptr[end - 1] != '\r')
        return STATUS_MALFORMED;
    *out_used = end + 1;
    return v1_line_parse(slice_skip(slice_first(line, end - 1), v1_signature.len), out_peer);
}

static size_t cursor_u16(struct cursor *in)
{
    size_t high = cursor_u8(in);

    return high << 8 | cursor_u8(in);
}

static enum status tlvs_check(struct cursor *in)
{
    while (in->left.len > 0 && !in->failed) {
        (void)cursor_u8(in); /* type */
        (void)cursor_take(in, cursor_u16(in));
    }
    return cursor_status(in);
}

static void v2_source(struct slice addresses, bool is_v6, struct address *out_peer)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&out_peer->storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&out_peer->storage;

    if (is_v6) {
        out_peer->len = sizeof(*v6);
        v6->sin6_family = AF_INET6;
        memcpy(&v6->sin6_addr, addresses.ptr, 16);
        memcpy(&v6->sin6_port, addresses.ptr + 32, 2);
    } else {
        out_peer->len = sizeof(*v4);
        v4->sin_family = AF_INET;
        memcpy(&v4->sin_addr, addresses.ptr, 4);
        memcpy(&v4->sin_port, addresses.ptr + 8, 2);
    }
}

static enum status v2_parse(struct slice bytes, size_t *out_used, struct address *out_peer)
{
    struct cursor in = cursor_over(slice_skip(bytes, v2_signature.len));
    unsigned command = cursor_u8(&in), family = cursor_u8(&in);
    size_t rest_len = cursor_u16(&in);

    if (command != COMMAND_LOCAL && command != COMMAND_PROXY)
        return STATUS_MALFORMED;
    if (rest_len > V2_REST_MAX_BYTES)
        return STATUS_MALFORMED;

    struct slice rest = cursor_take(&in, rest_len);

    if (in.failed)
        return STATUS_AGAIN;
    *out_used = V2_START_BYTES + rest_len;
    if (command == COMMAND_LOCAL || family == FAMILY_UNSPEC)
        return STATUS_OK;

    struct cursor body = cursor_over(rest);
    bool is_v6 = family == FAMILY_TCP6;
    struct slice addresses = cursor_take(&body, is_v6                   ? 36
                                                : family == FAMILY_TCP4 ? 12
                                                                        : V2_UNIX_BYTES);

    if (body.failed || (!is_v6 && family != FAMILY_TCP4 && family != FAMILY_UNIX))
        return STATUS_MALFORMED;
    if (family != FAMILY_UNIX)
        v2_source(addresses, is_v6, out_peer);
    return tlvs_check(&body);
}

enum status proxy_protocol_parse(struct slice bytes, size_t *out_used, struct address *out_peer)
{
    *out_peer = (struct address){ 0 };
    if (slice_starts_with(bytes, v1_signature))
        return v1_parse(bytes, out_used, out_peer);
    if (slice_starts_with(bytes, v2_signature))
        return bytes.len < V2_START_BYTES ? STATUS_AGAIN : v2_parse(bytes, out_used, out_peer);
    return slice_starts_with(v1_signature, bytes) || slice_starts_with(v2_signature, bytes)
               ? STATUS_AGAIN
               : STATUS_MALFORMED;
}
