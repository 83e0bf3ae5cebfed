/* proxy/port_request.h — what a request to a published port says: who may be asking (a token in any
 * of the places of DESIGN §6), in which shape an answer of ours must come, and what of it is ours and
 * must not reach the app. Pure functions over a head; every slice is borrowed from it or from `arena`.
 *
 *     cookie agentcomputer_access_session ─▶ X-Access-Token ─▶ ?access_token= (?token=)
 *         ─▶ subprotocol access-token.<jwt> ─▶ Authorization: Bearer
 *
 * The first three names and the subprotocol are ours; `token`, `access_token` and Authorization may
 * as well be the app's: they are taken off only when what they carry is ours (port_token.is_ours,
 * set by who verifies). */
#pragma once

#include "proxy/exec_request.h"

#define PORT_COOKIE "agentcomputer_access_session"

enum token_place {
    PLACE_COOKIE,
    PLACE_FIELD,
    PLACE_QUERY,
    PLACE_SUBPROTOCOL,
    PLACE_AUTHORIZATION,
};

/* At most so many are looked at in each place: a signature costs. */
enum {
    PORT_COOKIES_TRIED = 4,
    PORT_QUERY_TRIED = 4,
    PORT_SUBPROTOCOLS_TRIED = 2,
    PORT_TOKENS_MAX = PORT_COOKIES_TRIED + 1 + PORT_QUERY_TRIED + PORT_SUBPROTOCOLS_TRIED + 1,
};

struct port_token {
    struct slice text;
    enum token_place place;
    bool is_ours; /* signed by a key of ours, whatever else is wrong with it */
};

struct port_request {
    enum caller caller;
    struct slice path, query; /* without '?', as sent */
    struct slice content_type;
    struct port_token tokens[PORT_TOKENS_MAX]; /* in the order in which they count */
    size_t token_count;
    bool is_navigation; /* a person who looks at it: GET or HEAD */
    bool is_preflight;  /* CORS: goes to the app without token and body */
    bool is_websocket;
    bool changes_things; /* not GET, HEAD, OPTIONS, TRACE */
    bool expects_continue;
    struct slice
        only_subprotocol; /* ours, when the client offered no other; empty: it did, or none */
};

/* Fills everything that can be told, also when it fails. Errors: TOKEN_DUPLICATE. */
MUST_CHECK enum status port_request_parse(const struct head *head, struct port_request *out);

/* The target without the query parameters that carry a token of ours; `all`: without every
 * access_token. The given one when there are none, byte for byte. */
struct slice port_request_target(const struct port_request *request, struct slice target, bool all,
                                 struct arena *arena);

/* Takes what is ours off a Cookie or Sec-WebSocket-Protocol field (see below); others stay. False:
 * its value is empty now. */
bool port_field_without_ours(struct field *field, struct arena *arena);

/* A Cookie value without our cookie; every other byte stays. Empty: nothing is left. */
struct slice port_cookies_without_ours(struct slice cookies, struct arena *arena);

/* Is this a Set-Cookie value that would replace our cookie? */
bool port_sets_our_cookie(struct slice set_cookie);

/* A Sec-WebSocket-Protocol value without our subprotocols. Empty: nothing is left. */
struct slice port_subprotocols_without_ours(struct slice list, struct arena *arena);

/* May a request that is known by its cookie alone do what it asks for? Whoever is not asked for by a
 * page of this very host is not, since the browser adds the cookie by itself. Browsers always say
 * where a WebSocket or an unsafe method comes from; so without Origin no WebSocket passes, and another
 * request only when no other field of a browser is there: a program that sends the cookie as its
 * token. `authority`: normalised; `is_tls`: the client speaks TLS (to us or to a trusted proxy). */
bool port_origin_is_own(const struct head *request, struct slice authority, bool is_tls,
                        struct arena *arena);

/* Does an absolute URL (Origin, Referer, Location) have this host and port? Gives what follows the
 * authority. */
bool port_url_is_of(struct slice url, struct slice authority, struct arena *arena,
                    struct slice *out_rest);
