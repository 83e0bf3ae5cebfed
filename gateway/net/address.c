/* net/address.c — see address.h. Numeric forms only; a zone ("%eth0") is refused. */
#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/un.h>

#include "base/ensure.h"

static const unsigned char mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

enum { UNIX_PATH_START = offsetof(struct sockaddr_un, sun_path) };

static struct sockaddr_in *as_v4(const struct address *address)
{
    return (struct sockaddr_in *)(void *)&address->storage;
}

static struct sockaddr_in6 *as_v6(const struct address *address)
{
    return (struct sockaddr_in6 *)(void *)&address->storage;
}

static enum status port_parse(struct slice text, uint16_t *out_port)
{
    uint64_t number;

    if (text.len > 5 || !slice_to_u64(text, &number) || number > UINT16_MAX)
        return STATUS_MALFORMED;
    *out_port = (uint16_t)number;
    return STATUS_OK;
}

enum status address_split(struct slice text, struct slice *out_host, uint16_t *out_port)
{
    bool is_bracketed = text.len > 0 && text.ptr[0] == '[';
    size_t host_end = slice_find(text, is_bracketed ? ']' : ':');
    size_t colon = host_end + is_bracketed;

    if (colon >= text.len || text.ptr[colon] != ':')
        return STATUS_MALFORMED;
    *out_host = slice_skip(slice_first(text, host_end), is_bracketed);
    if (is_bracketed && slice_find(*out_host, ':') == out_host->len)
        return STATUS_MALFORMED;
    return port_parse(slice_skip(text, colon + 1), out_port); /* a second colon is no digit */
}

/* Fills `bytes` with the IP, IPv4 as IPv4-mapped IPv6. */
static bool ip_parse(struct slice text, unsigned char *bytes, bool *out_is_v4)
{
    char host[INET6_ADDRSTRLEN];

    if (text.len == 0 || text.len >= sizeof(host) || memchr(text.ptr, 0, text.len) != NULL)
        return false;
    slice_to_string(text, host, sizeof(host));
    *out_is_v4 = inet_pton(AF_INET, host, bytes + sizeof(mapped_prefix)) == 1;
    if (*out_is_v4)
        memcpy(bytes, mapped_prefix, sizeof(mapped_prefix));
    return *out_is_v4 || inet_pton(AF_INET6, host, bytes) == 1;
}

static enum status unix_parse(struct slice path, struct address *out_address)
{
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)&out_address->storage;

    if (path.len == 0 || path.len >= sizeof(un->sun_path) || memchr(path.ptr, 0, path.len) != NULL)
        return STATUS_MALFORMED;
    *out_address = (struct address){ .len = (socklen_t)(UNIX_PATH_START + path.len + 1) };
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path.ptr, path.len);
    return STATUS_OK;
}

enum status address_parse(struct slice text, struct address *out_address)
{
    unsigned char ip[16] = { 0 };
    bool is_v4 = false;
    struct slice host;
    uint16_t port;

    if (slice_starts_with(text, SLICE("unix:")))
        return unix_parse(slice_skip(text, 5), out_address);
    if (address_split(text, &host, &port) != STATUS_OK)
        return STATUS_MALFORMED;

    bool is_any = text.ptr[0] == ':' || slice_equal(host, SLICE("*"));

    if (!is_any && !ip_parse(host, ip, &is_v4))
        return STATUS_MALFORMED;
    if (!is_v4 && !is_any && text.ptr[0] != '[')
        return STATUS_MALFORMED;
    *out_address = (struct address){ .len = sizeof(struct sockaddr_in6) };
    if (is_v4) {
        out_address->len = sizeof(struct sockaddr_in);
        as_v4(out_address)->sin_family = AF_INET;
        memcpy(&as_v4(out_address)->sin_addr, ip + 12, 4);
    } else {
        as_v6(out_address)->sin6_family = AF_INET6;
        memcpy(&as_v6(out_address)->sin6_addr, ip, 16);
    }
    address_set_port(out_address, port);
    return STATUS_OK;
}

/* The IP as 16 bytes, IPv4 as IPv4-mapped; false for Unix sockets. */
static bool ip_bytes(const struct address *address, unsigned char *bytes)
{
    if (address->storage.ss_family == AF_INET) {
        memcpy(bytes, mapped_prefix, sizeof(mapped_prefix));
        memcpy(bytes + 12, &as_v4(address)->sin_addr, 4);
        return true;
    }
    if (address->storage.ss_family == AF_INET6) {
        memcpy(bytes, &as_v6(address)->sin6_addr, 16);
        return true;
    }
    return false;
}

static const char *unix_path(const struct address *address)
{
    return address->len > UNIX_PATH_START
               ? ((const struct sockaddr_un *)(const void *)&address->storage)->sun_path
               : "";
}

const char *address_host_text(const struct address *address, char *text)
{
    unsigned char bytes[16];

    if (!ip_bytes(address, bytes))
        return slice_to_string(SLICE("unix"), text, ADDRESS_TEXT_BYTES);

    bool is_v4 = memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0;

    ENSURE(inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? bytes + 12 : bytes, text,
                     ADDRESS_TEXT_BYTES) != NULL);
    return text;
}

const char *address_text(const struct address *address, char *text)
{
    char host[INET6_ADDRSTRLEN];

    if (address->storage.ss_family == AF_UNIX) {
        snprintf(text, ADDRESS_TEXT_BYTES, "unix:%.*s", ADDRESS_TEXT_BYTES - 6, unix_path(address));
        return text;
    }
    address_host_text(address, text);
    memcpy(host, text, strlen(text) + 1);

    bool is_v6 = strchr(host, ':') != NULL;

    snprintf(text, ADDRESS_TEXT_BYTES, "%s%s%s:%u", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
             (unsigned)address_port(address));
    return text;
}

uint16_t address_port(const struct address *address)
{
    if (address->storage.ss_family == AF_INET)
        return ntohs(as_v4(address)->sin_port);
    if (address->storage.ss_family == AF_INET6)
        return ntohs(as_v6(address)->sin6_port);
    return 0;
}

void address_set_port(struct address *address, uint16_t port)
{
    if (address->storage.ss_family == AF_INET)
        as_v4(address)->sin_port = htons(port);
    else if (address->storage.ss_family == AF_INET6)
        as_v6(address)->sin6_port = htons(port);
}

bool address_equal(const struct address *a, const struct address *b)
{
    unsigned char a_bytes[16], b_bytes[16];
    bool a_is_ip = ip_bytes(a, a_bytes);

    if (a_is_ip != ip_bytes(b, b_bytes))
        return false;
    if (a_is_ip)
        return memcmp(a_bytes, b_bytes, 16) == 0 && address_port(a) == address_port(b);
    return a->storage.ss_family == b->storage.ss_family && strcmp(unix_path(a), unix_path(b)) == 0;
}

static bool has_bits_below(const unsigned char *bytes, unsigned prefix_bits)
{
    for (unsigned bit = prefix_bits; bit < 128; bit++) {
        if ((bytes[bit / 8] & (0x80u >> bit % 8)) != 0)
            return true;
    }
    return false;
}

enum status network_parse(struct slice text, struct network *out_network)
{
    struct slice bits_text = text;
    struct slice host = slice_cut(&bits_text, '/');
    bool is_block = host.len < text.len;
    uint64_t bits = 0;
    bool is_v4;

    *out_network = (struct network){ .prefix_bits = 128 };
    if (!ip_parse(host, out_network->bytes, &is_v4))
        return STATUS_MALFORMED;
    if (!is_block)
        return STATUS_OK;
    if (bits_text.len > 3 || !slice_to_u64(bits_text, &bits) || bits > (is_v4 ? 32 : 128))
        return STATUS_MALFORMED;
    out_network->prefix_bits = (unsigned)bits + (is_v4 ? 96 : 0);
    return has_bits_below(out_network->bytes, out_network->prefix_bits) ? STATUS_MALFORMED
                                                                        : STATUS_OK;
}

bool network_contains(const struct network *network, const struct address *address)
{
    unsigned char bytes[16];
    unsigned whole_bytes = network->prefix_bits / 8;
    unsigned left_bits = network->prefix_bits % 8;

    if (!ip_bytes(address, bytes) || memcmp(bytes, network->bytes, whole_bytes) != 0)
        return false;
    return left_bits == 0 ||
           ((bytes[whole_bytes] ^ network->bytes[whole_bytes]) >> (8 - left_bits)) == 0;
}
