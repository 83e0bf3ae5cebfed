/* agent/guest_agent.h — the whole agent on one loop: a listener that takes HTTP/1.1 and HTTP/2
 * (prior knowledge, or ALPN over TLS), the service process.Process, CONNECT tunnels, GET /health.
 *
 * With a token, everything but /health needs `Authorization: Bearer <token>`. */
#pragma once

#include "agent/process_service.h"
#include "agent/tunnel.h"
#include "http/limits.h"
#include "net/address.h"

struct tls_context;
struct guest_agent;

struct guest_agent_options {
    struct address listen;
    struct tls_context *tls; /* NULL: clear; the agent takes a reference of its own */
    struct slice token;      /* empty: none; copied */
    size_t max_conns;
    struct http_limits http;
    struct process_service_options service;
    struct tunnel_options tunnel;
};
void guest_agent_options_init(struct guest_agent_options *options);

/* Copies `options`. Errors: SYSTEM (logged). */
MUST_CHECK enum status guest_agent_create(struct loop *loop,
                                          const struct guest_agent_options *options,
                                          struct guest_agent **out_agent);
/* Closes every conn, kills every process group. Sets *agent to NULL; may already be NULL. */
void guest_agent_destroy(struct guest_agent **agent);

const struct address *guest_agent_address(const struct guest_agent *agent);
void guest_agent_stop_listening(struct guest_agent *agent);
struct process_service *guest_agent_service(struct guest_agent *agent);
struct tunnels *guest_agent_tunnels(struct guest_agent *agent);
