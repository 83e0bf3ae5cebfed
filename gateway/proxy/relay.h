/* proxy/relay.h — the two byte flows of a call between the client's exchange and the agent's:
 *
 *     client ── on_body ──▶ relay ── exchange_write ──▶ agent        on_drained of one side is what
 *            ◀── consumed ──       ◀── on_drained ──                 consumed() of the other is
 * told
 *
 * Bytes leave in the turn in which they come; of each flow at most one window (64 KiB) is between
 * the two, so the slower side sets the pace. Until the agent's head has come the request is kept as
 * well (up to a window), so that a request that the agent refused unseen can be sent again.
 * Embedded in its call; knows exchanges, not calls. */
#pragma once

#include "http/exchange.h"
#include "proxy/stream_edge.h"

enum { RELAY_REPLAY_BYTES = 64 * 1024 };

struct relay {
    struct exchange *client;   /* borrowed from the call */
    struct exchange *upstream; /* borrowed from the call; NULL: not connected (yet, or any more) */
    struct buf held;           /* the request body so far, while it may have to be sent (again) */
    uint64_t request_bytes;    /* came from the client */
    uint64_t request_drained;  /* left for this agent exchange */
    uint64_t request_consumed; /* told to the client */
    uint64_t response_bytes;   /* came from the agent */
    struct stream_edge edge;   /* of the response, when it is tracked */
    bool holds;                /* `held` is the whole request body so far */
    bool tracks_edge;
    bool keeps_start; /* the response is no stream, but how it begins is kept in `edge` */
};

void relay_init(struct relay *relay, struct exchange *client);
void relay_deinit(struct relay *relay);

/* From the client. */
void relay_request_body(struct relay *relay, struct slice bytes);
void relay_request_end(struct relay *relay, const struct fields *trailers);
void relay_client_drained(struct relay *relay, size_t size_bytes);

/* Can the request be sent again to another exchange, byte for byte? */
bool relay_can_replay(const struct relay *relay);

/* Would nothing but the head be sent now, with END_STREAM? */
bool relay_request_is_empty(const struct relay *relay);

/* A new exchange toward the agent, its head just sent (`ended`: with the end): sends what is held.
 */
void relay_attach(struct relay *relay, struct exchange *upstream, bool ended);
void relay_detach(struct relay *relay);

/* From the agent. */
void relay_upstream_drained(struct relay *relay, size_t size_bytes);
void relay_response_head(struct relay *relay); /* the request is the agent's now: nothing is kept */
void relay_response_body(struct relay *relay, struct slice bytes);

/* The same, but no further than to the next edge of the tracked stream; returns whether that was
 * met. */
bool relay_response_body_to_edge(struct relay *relay, struct slice bytes);
