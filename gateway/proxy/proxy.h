/* proxy/proxy.h — the sentence itself, per worker: what every call needs, and the door by which
 * exchanges come in. */
#pragma once

#include "auth/token.h"
#include "base/counter.h"
#include "connect/process_message.h"
#include "http/server.h"
#include "proxy/call_metrics.h"
#include "route/route_resolver.h"
#include "upstream/upstream_pool.h"

struct proxy;
struct access_log;

struct wake_options {
    bool is_enabled; /* the routes must come from Redis */
    uint64_t timeout_ms, repeat_ms;
    size_t pending, pending_total;
    size_t stream_length;
};

struct port_options {
    const char *const *domains; /* "computer.example.com": <label>--<handle>.<domain> */
    size_t domain_count;
    const char *const *reserved_handles; /* never a computer's */
    size_t reserved_handle_count;
    const char *login_url; /* NULL: navigations without access get a page */
    bool insecure_cookies; /* no Secure on the cookie of a client in clear */
};

enum on_expiry { ON_EXPIRY_CLOSE, ON_EXPIRY_ALLOW };

struct proxy_options {
    /* which hosts are ours */
    const char *const
        *exec_hosts; /* lower case, no port; "*": every host that no other rule takes */
    size_t exec_host_count;
    /* exec */
    bool sessions_required; /* a session:{sid} that is absent refuses (Redis' default); else only
                               `revoked` does */
    enum on_expiry on_expiry;
    size_t plain_json_bytes;    /* 4 MiB: request body of the plain-JSON form, and its answer as one
                                   document */
    uint64_t plain_wait_ms;     /* 10 s: default of wait_ms */
    uint64_t plain_wait_max_ms; /* 10 min */
    const char *const *cors_origins; /* "*" by default */
    size_t cors_origin_count;
    struct port_options ports;
    /* limits */
    size_t requests_per_session;  /* 256 */
    size_t requests_per_computer; /* 1024 */
    uint64_t response_head_ms;    /* 300 s, ports */
    struct wake_options wake;
    /* trust */
    const struct network
        *trusted_proxies; /* copied: forwarding headers count from these peers alone */
    size_t trusted_proxy_count;
    struct tls_context *server_tls; /* of the listeners: hosts outside its certificates are 421 */
    struct tls_context *agent_tls;  /* for `tls: on`; NULL: such computers are ROUTE_REFUSED */
    struct tls_context *agent_mutual_tls; /* for `tls: mutual` */
};

struct proxy_counters {
    struct counter calls[PROCESS_METHOD_COUNT], calls_open, calls_other;
    struct counter ended[STATUS_COUNT]; /* by outcome */
    struct counter retries, bytes_in, bytes_out;
    struct counter wakes_asked, wakes_waiting /* gauge */, wakes_refused, wakes_failed,
        wakes_timed_out;
    struct call_metrics metrics;
};

/* Copies `options`; borrows the rest, which must outlive the proxy. `log` may be NULL. */
struct proxy *proxy_create(struct loop *loop, const struct proxy_options *options,
                           struct token_verifier *tokens, struct route_resolver *routes,
                           struct upstream_pool *upstreams, struct access_log *log);
void proxy_destroy(struct proxy **proxy); /* open calls end at once */

/* For http_server_options.on_request and .refuse; `owner` is the proxy. */
void proxy_on_request(void *owner, struct exchange *exchange);
void proxy_refuse(void *owner, struct exchange *exchange, enum status status);

/* Draining: /health says 503. Whatever still comes is served: refusing is the codecs' part, who can
 * do it so that the client knows that nothing was done (http_server_drain). */
void proxy_drain(struct proxy *proxy);

/* The drain has lasted long enough: every open call ends with DRAINING in its own protocol, within
 * half a second. */
void proxy_end_calls(struct proxy *proxy);

/* To be called a few times a second: somebody may have set the clock, and calls expire by it. */
void proxy_follow_wall_clock(struct proxy *proxy);

/* Memory is short: new calls are refused with OVERLOADED. */
void proxy_set_overloaded(struct proxy *proxy, bool is_overloaded);
size_t proxy_call_count(const struct proxy *proxy);
/* Reload: calls that are open keep what they began with. */
void proxy_set_options(struct proxy *proxy, const struct proxy_options *options);
const struct proxy_counters *proxy_counters(const struct proxy *proxy);
