/* proxy/port_call.h — the other kind of call: a request to a published port, toward the app that
 * listens on it in the guest. What it needs beyond a call (call.h):
 *
 *     finding: the host's record ─▶ authorizing: nothing for a public port, else a token in any place
 *         ─▶ resolving: (a token in the query of a navigation: 303, cookie) ─▶ connecting: HTTP/1.1 or
 *         h2c, in a tunnel of the agent or direct ─▶ relaying, or after a 101 tunnelling
 *
 * Lives from call_start() to the end of its call. */
#pragma once

#include "auth/websocket_accept.h"
#include "proxy/call.h"
#include "proxy/port_request.h"

struct port_call {
    struct call *call;
    struct port_request request;
    enum status parsed;     /* of port_request_parse() */
    struct slice authority; /* normalised: the one value that decides and is forwarded */
    struct slice host;      /* the same without port */
    struct record *record;  /* host:{…}; NULL until it is found */
    struct route_lookup *lookup;
    struct record_watch watch;
    const struct port_token *redeemed; /* to become a cookie; NULL: none */
    bool is_grpc_answer;               /* the app's: ends with trailers even when it is cut */
    bool is_tunnel;                    /* the app has switched to WebSocket */
    bool was_reused;                   /* the connection to the app had carried a request before */
    char websocket_key[WEBSOCKET_KEY_BYTES]; /* ours, toward the app, for an extended CONNECT */
};

extern const struct call_kind call_kind_port;

void port_call_create(struct call *call);
void port_call_free(struct call *call); /* harmless for other kinds */

/* FINDING: from memory, or a lookup is in flight afterwards; the call fails, or becomes one of exec
 * (its `port` is NULL then), when the name is not published. */
void port_call_find(struct call *call);

static inline bool port_call_is_finding(const struct call *call)
{
    return call->port != NULL && call->port->record == NULL;
}

/* RESOLVING, once the session is known to hold: the navigation goes to the clean URL, with a cookie. */
void port_call_redeem(struct call *call);

MUST_CHECK enum status port_call_target(struct call *call, struct upstream_target *out);

/* What reply.c needs to know. */
void port_call_shape_reply(const struct call *call, struct reply *reply);

/* A navigation that may not pass, where there is a page to sign in: goes there. False: there is none. */
MUST_CHECK bool port_call_send_login(struct call *call, const struct reply *reply);

/* ---- relaying ---- */

void port_call_response_head(struct call *call, const struct head *head, bool ends);
bool port_call_interim_passes(const struct call *call, unsigned status);

/* The request is whole, or moved: the app's time to answer begins (again). */
void port_call_note_progress(struct call *call);
void port_call_late(struct call *call);

/* One side of a WebSocket has ended: the other may still speak, for a while. */
void port_call_half_closed(struct call *call);

/* A WebSocket ends from our side: with a close frame, where no frame of the app is cut. False: it
 * can only be reset. */
MUST_CHECK bool port_call_close_websocket(struct call *call, const struct reply *reply);

/* The connection broke, or the app is weary of it, before a byte of the answer: may the request be sent again? */
bool port_call_may_repeat(const struct call *call);
