/* proxy/forward_headers.h — which fields pass between a client and an agent, and which are ours.
 * Every name that we set is removed from what the client sent, in hyphen and in underscore
 * spelling, whether we set it this time or not; hop-by-hop fields never pass; all else passes byte
 * for byte. Pure functions; the results live in the arena that is given. */
#pragma once

#include "http/message.h"
#include "net/address.h"

enum { TRACE_ID_BYTES = 32, REQUEST_ID_BYTES = 32, TRACEPARENT_BYTES = 55 };

/* Who asks whom, as the agent is told. Slices may be empty: then the field is not set. */
struct forward_identity {
    struct slice computer_id, session_id, user_id;
    struct slice agent_token; /* becomes Authorization: Bearer */
    struct slice request_id;
    struct slice traceparent;
    struct slice peer_ip;    /* of the connection */
    struct slice scheme;     /* "https", "http" */
    struct slice authority;  /* as the client sent it */
    bool peer_is_trusted;    /* its X-Forwarded-* are continued */
    bool drop_authorization; /* the client's Authorization carried our token */
    uint32_t keepalive_s;    /* 0: no Keepalive-Ping-Interval */
    bool is_port;            /* an app: Expect and Keepalive-Ping-Interval are its own, Referer is
                                adapted by the caller */
    struct slice port;       /* X-Forwarded-Port */
};

/* Appends to `into` what goes to the agent. */
void forward_request_fields(const struct fields *from, const struct forward_identity *identity,
                            struct arena *arena, struct fields *into);

/* Appends a copy, slices included, of what goes back to the client; X-Gateway-* and X-Request-Id
 * are ours alone. */
void forward_response_fields(const struct fields *from, struct arena *arena, struct fields *into);

/* Trailers, either way: copied; nothing that may only stand in a head (framing, routing, our names)
 * passes. */
void forward_trailers(const struct fields *from, struct arena *arena, struct fields *into);

/* Is the name of this field one that only the gateway may set toward an agent? */
bool forward_is_ours(const struct field *field);

/* W3C Trace Context (level 1, version 00): continues a valid traceparent with `span` as the new
 * parent, else starts a new trace. `random`: three random words. The result has TRACEPARENT_BYTES;
 * the trace id stands at offset 3. */
struct slice forward_traceparent(const struct fields *request, const uint64_t random[3],
                                 struct arena *arena);

/* The client's X-Request-Id when it may be kept, else 32 hex digits. */
struct slice forward_request_id(const struct fields *request, bool peer_is_trusted,
                                const uint64_t random[2], struct arena *arena);

/* The address that asked first: the rightmost of X-Forwarded-For that no trusted proxy has, when
 * the peer is one. */
struct slice forward_client_ip(const struct fields *request, struct slice peer_ip,
                               bool peer_is_trusted, const struct network *trusted,
                               size_t trusted_count);
