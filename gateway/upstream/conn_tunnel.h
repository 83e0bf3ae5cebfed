/* upstream/conn_tunnel.h — a conn to a port inside the guest: the two bodies of a CONNECT exchange
 * (RFC 9113 §8.5) on a client to the guest's agent. Codecs stand on it as on a socket; the
 * exchange's windows bound what it holds in both directions. */
#pragma once

#include "http/client.h"

/* Opens an exchange on `client` (capacity must be > 0; borrowed) for 127.0.0.1:`port` of the guest.
 * on_open follows on a later turn: OK; PORT_CLOSED (the agent said no), ROUTE_REFUSED (403);
 * AGENT_TIMED_OUT; AGENT_LOST (its conn broke), AGENT_RESET; AGENT_UNREACHABLE (provably not
 * processed). When the client goes, the conn reads SYSTEM. */
struct conn *conn_tunnel_start(struct http_client *client, uint16_t port, uint64_t timeout_ms,
                               const struct conn_events *events, void *owner);
