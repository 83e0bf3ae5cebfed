/* net/proxy_protocol.h — the PROXY header, versions 1 and 2, with which a balancer announces the
 * client's address. A pure parser; the listener decides from whom it is believed. */
#pragma once

#include "net/address.h"

enum { PROXY_HEADER_MAX_BYTES = 536 }; /* version 1 has at most 107 */

/* `bytes` start where the connection starts. OK: the header is `*out_used` bytes long; `*out_peer`
 * is the announced source, or has len 0 when none is (LOCAL, UNKNOWN, UNSPEC, Unix sockets): the
 * connection's own address counts. AGAIN: the start of a header. MALFORMED: will never be one, or
 * is for datagrams. */
MUST_CHECK enum status proxy_protocol_parse(struct slice bytes, size_t *out_used,
                                            struct address *out_peer);
