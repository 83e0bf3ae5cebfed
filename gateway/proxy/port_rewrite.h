/* proxy/port_rewrite.h — the names under which an app knows itself (`host_header` of its record):
 *
 *     preserve    the public name, as the client asked for it
 *     localhost   localhost:<port>, for dev servers that serve no other
 *     <value>     that
 *
 * When Host is rewritten, Origin and Referer of the app's own pages are as well, so that an app which
 * compares them finds what it expects; a Location that names the app by it is turned back. Pure
 * functions; the results live in `arena` or are what was given. */
#pragma once

#include "http/message.h"

struct port_names {
    struct slice mode;      /* host_header */
    uint16_t port;          /* of the app */
    struct slice scheme;    /* public: "https", "http" */
    struct slice authority; /* public, normalised */
};

/* The value of Host toward the app. */
struct slice port_host_value(const struct port_names *names, struct arena *arena);

/* Origin, and Referer without any token in it. */
struct slice port_origin_value(const struct port_names *names, struct slice origin,
                               struct arena *arena);
struct slice port_referer_value(const struct port_names *names, struct slice referer,
                                struct arena *arena);

/* Location, toward the client. */
struct slice port_location_value(const struct port_names *names, struct slice location,
                                 struct arena *arena);

/* X-Forwarded-Port: what the authority says, or the default of the scheme. */
struct slice port_forwarded_port(const struct port_names *names);

/* A target as a Location that stays on this host, whatever it begins with ("//evil.example" would
 * not). */
struct slice port_local_location(struct slice target, struct arena *arena);

/* Everything but unreserved characters percent-encoded: one query value. */
struct slice port_query_encode(struct slice text, struct arena *arena);
