/* admin/worker_view.h — one worker as the admin server sees it. The pointers stand as long as the
 * worker; counters may be read from any thread, all else only by what is posted to the worker's
 * loop. */
#pragma once

#include "net/listener.h"
#include "proxy/access_log.h"
#include "proxy/proxy.h"
#include "route/route_store_redis.h"

struct listener_counters {
    struct counter open; /* gauge */
    struct counter total;
};

struct worker_view {
    struct loop *loop;
    struct proxy *proxy;
    struct http_server *server;
    struct upstream_pool *upstreams;
    struct route_resolver *routes;
    struct token_verifier *tokens;
    struct access_log *log;                         /* NULL: off */
    const struct route_store_redis_counters *redis; /* NULL: routes come from elsewhere */
    const struct listener_counters *listeners;      /* by listener */
    const struct listener_group *accepts;           /* its counters */
};
