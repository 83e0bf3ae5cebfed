/* net/address.h — endpoints and networks: parse, print, compare, match. */
#pragma once

#include <sys/socket.h>

#include "base/buf.h"
#include "base/status.h"

struct address {
    struct sockaddr_storage storage;
    socklen_t len;
};

struct network {             /* a CIDR block */
    unsigned char bytes[16]; /* IPv4 as IPv4-mapped IPv6 */
    unsigned prefix_bits;    /* over the 16 bytes */
};

enum { ADDRESS_TEXT_BYTES = 128 };

/* "127.0.0.1:80", "[::1]:80", "unix:/run/x.sock", ":80" and "*:80" (any IPv4 and IPv6). Names are MALFORMED: see
 * name_lookup.h. */
MUST_CHECK enum status address_parse(struct slice text, struct address *out_address);

/* Splits "host:port" or "[v6]:port"; the host is borrowed from `text`, without brackets. */
MUST_CHECK enum status address_split(struct slice text, struct slice *out_host, uint16_t *out_port);

/* Prints in the form that address_parse() takes. Returns `text` (of ADDRESS_TEXT_BYTES). */
const char *address_text(const struct address *address, char *text);

/* The IP alone, without port and brackets; IPv4-mapped IPv6 as IPv4; "unix" for Unix sockets. */
const char *address_host_text(const struct address *address, char *text);

uint16_t address_port(const struct address *address); /* 0 for Unix sockets */
void address_set_port(struct address *address, uint16_t port);
bool address_equal(const struct address *a, const struct address *b);

/* "10.0.0.0/8", "fd00::/8", or a lone IP (one address). Bits below the prefix must be zero. */
MUST_CHECK enum status network_parse(struct slice text, struct network *out_network);

/* IPv4-mapped IPv6 addresses are compared as IPv4. Unix sockets are in no network. */
bool network_contains(const struct network *network, const struct address *address);
