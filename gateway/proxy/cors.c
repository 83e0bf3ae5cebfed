/* proxy/cors.c — see cors.h. */
#include "proxy/cors.h"

#define ALLOWED_HEADERS                                                                            \
    "Authorization, X-Access-Token, X-Computer-Id, Content-Type, Content-Encoding, "               \
    "Connect-Protocol-Version, Connect-Timeout-Ms, Connect-Accept-Encoding, "                      \
    "Connect-Content-Encoding, Keepalive-Ping-Interval, E2b-Sandbox-Id, E2b-Sandbox-Port, "        \
    "Grpc-Timeout, X-Grpc-Web, X-User-Agent, User-Agent, Cache-Control, Traceparent, "             \
    "Tracestate, X-Request-Id"

#define EXPOSED_HEADERS                                                                            \
    "Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin, Content-Encoding, "                       \
    "Connect-Content-Encoding, X-Request-Id, X-Gateway-Delivered, X-Gateway-Error, Retry-After"

struct slice cors_allowed_origin(const struct cors_policy *policy, const struct fields *request)
{
    struct slice origin = fields_value(request, FIELD_ORIGIN);

    if (origin.len == 0)
        return SLICE_EMPTY;
    for (size_t i = 0; i < policy->origin_count; i++) {
        struct slice allowed = slice_from_string(policy->origins[i]);
        if (slice_equal(allowed, SLICE("*")))
            return SLICE("*");
        if (slice_equal(allowed, origin))
            return origin;
    }
    return SLICE_EMPTY;
}

static void add_origin(struct slice origin, struct arena *arena, struct fields *into)
{
    fields_add_named(into, arena, SLICE("access-control-allow-origin"), origin);
    if (!slice_equal(origin, SLICE("*")))
        fields_add_named(into, arena, SLICE("vary"), SLICE("Origin"));
}

void cors_add_fields(struct slice origin, struct arena *arena, struct fields *into)
{
    if (origin.len == 0)
        return;
    add_origin(origin, arena, into);
    fields_add_named(into, arena, SLICE("access-control-expose-headers"), SLICE(EXPOSED_HEADERS));
}

bool cors_is_preflight(const struct head *request)
{
    return slice_equal(request->method, SLICE("OPTIONS")) &&
           fields_find(&request->fields, FIELD_ORIGIN) != NULL &&
           fields_find(&request->fields, FIELD_ACCESS_CONTROL_REQUEST_METHOD) != NULL;
}

void cors_add_preflight_fields(struct slice origin, struct arena *arena, struct fields *into)
{
    if (origin.len == 0)
        return;
    add_origin(origin, arena, into);
    fields_add_named(into, arena, SLICE("access-control-allow-methods"),
                     SLICE("POST, GET, OPTIONS"));
    fields_add_named(into, arena, SLICE("access-control-allow-headers"), SLICE(ALLOWED_HEADERS));
    fields_add_named(into, arena, SLICE("access-control-max-age"), SLICE("7200"));
}
