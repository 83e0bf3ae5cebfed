/* agent/tunnel.h — CONNECT 127.0.0.1:<port>: a TCP connection to a program that listens inside this
 * computer. Both directions end apart (half-close), and neither side is read faster than the other
 * takes it. */
#pragma once

#include "http/exchange.h"

struct tunnel_options {
    uint16_t own_port;           /* the agent's: refused */
    uint64_t retry_ms;           /* while nothing listens yet: a program is often just starting */
    uint64_t connect_timeout_ms; /* of one attempt */
    size_t high_bytes; /* of output that the client has not taken: then the program is not read */
};
void tunnel_options_init(struct tunnel_options *options);

struct tunnels; /* the open ones of an agent */
struct tunnels *tunnels_create(struct loop *loop, const struct tunnel_options *options);
/* Ends all; call it after http_server_destroy(). Sets *tunnels to NULL; may already be NULL. */
void tunnels_destroy(struct tunnels **tunnels);
void tunnels_set_own_port(struct tunnels *tunnels, uint16_t port);
size_t tunnels_count(const struct tunnels *tunnels);

/* Takes the exchange (a CONNECT). The authority must be a loopback address or "localhost" with a
 * port; 127.0.0.1 and
 * ::1 are tried in turn, since programs listen on either. Answers: 200 and the tunnel; 400 bad
 * authority; 403 not loopback, or the agent itself; 502 nothing listens there. */
void tunnels_open(struct tunnels *tunnels, struct exchange *exchange);
