/* upstream/dialer.h — one attempt to reach an agent, from its name to a client that takes
 * exchanges, within one deadline:
 *
 *     name lookup ▸ allowed? ▸ connect, TLS ▸ h2: the peer's first SETTINGS ▸ client
 *                       ▲                │
 *                       └── once more ───┘  refused or lost, after 25–250 ms
 *
 * A published port is reached through a tunnel instead of the first three: a client to its agent ▸
 * CONNECT.
 *
 * Nothing of a request is sent, so whoever waits may try again. */
#pragma once

#include "http/client.h"
#include "net/tls_context.h"
#include "upstream/allow_list.h"
#include "upstream/upstream_pool.h"

struct dialer;

struct dialer_options {
    struct loop *loop;
    const struct allow_list *allow;
    const struct http_limits *limits;
    uint64_t connect_ms;
};

struct dialer_target {  /* copied; TLS gets a reference */
    struct slice agent; /* host:port */
    bool is_h2;
    struct tls_context *tls;
    uint16_t port;     /* other than 0: instead of the agent's */
    bool is_tunnelled; /* to that port, on a client of `pool` to `carrier`; `agent` and `tls` mean
                          nothing then */
    struct upstream_pool *pool;     /* borrowed */
    struct upstream_target carrier; /* its slices are borrowed until the dialer ends */
};

/* OK: takes the client, which has no owner any more. Otherwise NULL and ROUTE_REFUSED,
 * AGENT_UNREACHABLE, AGENT_TIMED_OUT or AGENT_PROTOCOL; in a tunnel AGENT_BUSY, PORT_CLOSED,
 * AGENT_LOST or AGENT_RESET as well. */
typedef void dialed_fn(void *arg, enum status status, struct http_client *client);

/* Exactly one of these follows: `on_dialed` runs once, never before dialer_start() returns, and the
 * dialer is gone; or dialer_cancel() is called and it never runs. */
MUST_CHECK struct dialer *dialer_start(const struct dialer_options *options,
                                       const struct dialer_target *target, dialed_fn *on_dialed,
                                       void *arg);
void dialer_cancel(struct dialer **dialer); /* sets *dialer to NULL; may already be NULL */
