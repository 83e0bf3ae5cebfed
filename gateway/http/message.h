/* http/message.h — the head of a request or response in protocol-neutral form (RFC 9110): control
 * data as in HTTP/2 (RFC 9113 §8.3), names in lower case, values byte for byte. All slices live in
 * the arena of the exchange. */
#pragma once

#include "base/arena.h"
#include "base/status.h"

/* The field names that somebody in the house looks at; found once, while parsing. */
#define FIELD_TABLE(X)                                                                             \
    X(ACCEPT, "accept")                                                                            \
    X(ACCEPT_ENCODING, "accept-encoding")                                                          \
    X(ACCESS_CONTROL_REQUEST_HEADERS, "access-control-request-headers")                            \
    X(ACCESS_CONTROL_REQUEST_METHOD, "access-control-request-method")                              \
    X(AUTHORIZATION, "authorization")                                                              \
    X(CONNECT_ACCEPT_ENCODING, "connect-accept-encoding")                                          \
    X(CONNECT_CONTENT_ENCODING, "connect-content-encoding")                                        \
    X(CONNECT_PROTOCOL_VERSION, "connect-protocol-version")                                        \
    X(CONNECT_TIMEOUT_MS, "connect-timeout-ms")                                                    \
    X(CONNECTION, "connection")                                                                    \
    X(CONTENT_ENCODING, "content-encoding")                                                        \
    X(CONTENT_LENGTH, "content-length")                                                            \
    X(CONTENT_TYPE, "content-type")                                                                \
    X(COOKIE, "cookie")                                                                            \
    X(DATE, "date")                                                                                \
    X(EXPECT, "expect")                                                                            \
    X(FORWARDED, "forwarded")                                                                      \
    X(GRPC_TIMEOUT, "grpc-timeout")                                                                \
    X(HOST, "host")                                                                                \
    X(HTTP2_SETTINGS, "http2-settings")                                                            \
    X(KEEP_ALIVE, "keep-alive")                                                                    \
    X(KEEPALIVE_PING_INTERVAL, "keepalive-ping-interval")                                          \
    X(LOCATION, "location")                                                                        \
    X(ORIGIN, "origin")                                                                            \
    X(PROXY_CONNECTION, "proxy-connection")                                                        \
    X(REFERER, "referer")                                                                          \
    X(SEC_FETCH_DEST, "sec-fetch-dest")                                                            \
    X(SEC_FETCH_MODE, "sec-fetch-mode")                                                            \
    X(SEC_WEBSOCKET_ACCEPT, "sec-websocket-accept")                                                \
    X(SEC_WEBSOCKET_EXTENSIONS, "sec-websocket-extensions")                                        \
    X(SEC_WEBSOCKET_KEY, "sec-websocket-key")                                                      \
    X(SEC_WEBSOCKET_PROTOCOL, "sec-websocket-protocol")                                            \
    X(SEC_WEBSOCKET_VERSION, "sec-websocket-version")                                              \
    X(SERVER, "server")                                                                            \
    X(SET_COOKIE, "set-cookie")                                                                    \
    X(TE, "te")                                                                                    \
    X(TRACEPARENT, "traceparent")                                                                  \
    X(TRACESTATE, "tracestate")                                                                    \
    X(TRAILER, "trailer")                                                                          \
    X(TRANSFER_ENCODING, "transfer-encoding")                                                      \
    X(UPGRADE, "upgrade")                                                                          \
    X(USER_AGENT, "user-agent")                                                                    \
    X(WWW_AUTHENTICATE, "www-authenticate")                                                        \
    X(X_ACCESS_TOKEN, "x-access-token")                                                            \
    X(X_COMPUTER_ID, "x-computer-id")                                                              \
    X(X_FORWARDED_FOR, "x-forwarded-for")                                                          \
    X(X_FORWARDED_HOST, "x-forwarded-host")                                                        \
    X(X_FORWARDED_PORT, "x-forwarded-port")                                                        \
    X(X_FORWARDED_PROTO, "x-forwarded-proto")                                                      \
    X(X_GATEWAY_DELIVERED, "x-gateway-delivered")                                                  \
    X(X_GATEWAY_ERROR, "x-gateway-error")                                                          \
    X(X_REAL_IP, "x-real-ip")                                                                      \
    X(X_REQUEST_ID, "x-request-id")                                                                \
    X(X_REQUESTED_WITH, "x-requested-with")                                                        \
    X(X_SESSION_ID, "x-session-id")                                                                \
    X(X_USER_ID, "x-user-id")

enum field_id {
    FIELD_OTHER,
#define X(id, text) FIELD_##id,
    FIELD_TABLE(X)
#undef X
        FIELD_COUNT
};

struct field {
    struct slice name; /* lower case */
    struct slice value;
    enum field_id id;
};

struct fields {
    struct field *items; /* in the arena */
    size_t count;
    size_t capacity;
};

enum http_version { HTTP_1_0, HTTP_1_1, HTTP_2 };

enum { CONTENT_LENGTH_UNKNOWN = -1 };

struct head {
    /* requests */
    struct slice method;
    struct slice scheme;
    struct slice authority; /* from :authority or Host, as sent */
    struct slice
        target; /* origin-form: path and query, byte for byte; "*" for OPTIONS; empty for CONNECT */
    struct slice protocol; /* extended CONNECT (RFC 8441) or the HTTP/1.1 Upgrade token:
                              "websocket"; else empty */
    /* responses */
    unsigned status;
    /* both */
    struct fields
        fields; /* without host, :authority and framing (content-length stays, as the field) */
    int64_t content_length; /* CONTENT_LENGTH_UNKNOWN when the field is absent */
};

enum field_id field_id_of(struct slice lower_name); /* FIELD_OTHER when nobody looks at it */
struct slice field_name(enum field_id id);

/* Appends; the slices must live in `arena` or longer (nothing is copied but the items' array). */
void fields_add(struct fields *fields, struct arena *arena, enum field_id id, struct slice value);
void fields_add_named(struct fields *fields, struct arena *arena, struct slice lower_name,
                      struct slice value);

/* First field with this id, or NULL. */
const struct field *fields_find(const struct fields *fields, enum field_id id);
/* By name, for fields that have no id. */
const struct field *fields_find_named(const struct fields *fields, struct slice lower_name);
struct slice fields_value(const struct fields *fields, enum field_id id); /* empty when absent */
size_t fields_count_of(const struct fields *fields, enum field_id id);

/* Does a comma-separated list value (RFC 9110 §5.6.1) contain `token`, compared without case? */
bool field_list_contains(struct slice list, struct slice lower_token);

/* The lower case of a byte that may stand in a token, 0 for all others. */
extern const unsigned char token_lower_case[256];

/* RFC 9110 §5.6.2 token; §5.5 field value (no CTL but HTAB, no blank at the ends checked). */
bool is_token(struct slice text);
bool is_field_value(struct slice text);

/* Has a method letters in lower case? No registered one has. Methods are case-sensitive (RFC 9110
 * §9.1), but some servers read `get` as GET and others refuse it, so it is nothing to pass on. */
bool method_has_lower_case(struct slice method);

/* connection, keep-alive, proxy-connection, transfer-encoding, te, trailer, upgrade, http2-settings
 * (RFC 9110 §7.6.1): never forwarded. `trailer` is end-to-end and is not among them. */
bool field_is_hop_by_hop(enum field_id id);

/* Lower-cases, removes one trailing dot, checks host and port (RFC 3986 §3.2.2; ≤ 255 bytes; no
 * userinfo, no empty label, no '_'), keeps a port other than the scheme's default. Returns
 * MALFORMED or a slice in `arena`. */
MUST_CHECK enum status authority_normalize(struct slice authority, struct slice scheme,
                                           struct arena *arena, struct slice *out_authority);
/* The host of a normalised authority, without port; brackets of IPv6 stay. */
struct slice authority_host(struct slice authority);
