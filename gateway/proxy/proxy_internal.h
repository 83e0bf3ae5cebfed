/* proxy/proxy_internal.h — the proxy as its own files see it. */
#pragma once

#include "base/list.h"
#include "proxy/cors.h"
#include "proxy/in_flight.h"
#include "proxy/port_host.h"
#include "proxy/proxy.h"
#include "proxy/wake.h"

/* A snapshot of the options: calls keep the one that they began with. */
struct proxy_config {
    struct proxy_options options; /* everything that it points to is owned */
    struct cors_policy cors;
    size_t ref_count;
};

struct proxy {
    struct loop *loop;
    struct token_verifier *tokens;
    struct route_resolver *routes;
    struct upstream_pool *upstreams;
    struct access_log *log;
    struct proxy_config *config;
    struct proxy_counters counters;
    struct list calls;
    size_t call_count;
    struct in_flight by_session;
    struct in_flight by_computer;
    struct wake_queue wake;
    uint64_t random_state[2];
    unsigned
        retry_credit;   /* in hundredths of a retry: each call earns some, each retry costs 100 */
    struct buf scratch; /* bytes rest here within one event only */
    int64_t wall_ahead_ms; /* of the monotonic clock, when the calls' expiries were computed */
    bool is_draining;
    bool is_overloaded;
};

enum { RETRY_CREDIT_PER_CALL = 20, RETRY_COST = 100, RETRY_CREDIT_MAX = 1000 };

struct host_names proxy_host_names(const struct proxy_options *options);
uint64_t proxy_random(struct proxy *proxy); /* not for secrets */
void proxy_config_unref(struct proxy_config **config);
