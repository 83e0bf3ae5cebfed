/* base/status.h — every outcome of fallible work, in one table: its name in logs and metrics, the HTTP status, the
 * Connect code, and the words that a client reads. proxy/reply.c turns a row into an answer. */
#pragma once

#include "base/ensure.h"
#include "base/slice.h"

/* name, HTTP status, Connect code, words for the client */
#define STATUS_TABLE(X)                                                                            \
    X(OK, 200, UNKNOWN, "ok")                                                                      \
    X(AGAIN, 500, INTERNAL, "not finished yet")                                                    \
    /* who is asking */                                                                            \
    X(TOKEN_MISSING, 401, UNAUTHENTICATED, "no token: send Authorization: Bearer <connect_token>") \
    X(TOKEN_DUPLICATE, 400, INVALID_ARGUMENT, "more than one token or Authorization field")        \
    X(TOKEN_TOO_LONG, 401, UNAUTHENTICATED, "token is too long")                                   \
    X(TOKEN_MALFORMED, 401, UNAUTHENTICATED, "token is malformed")                                 \
    X(TOKEN_KEY_UNKNOWN, 401, UNAUTHENTICATED, "token is signed with an unknown key")              \
    X(TOKEN_ALGORITHM, 401, UNAUTHENTICATED, "token has the wrong algorithm")                      \
    X(TOKEN_SIGNATURE, 401, UNAUTHENTICATED, "token signature is invalid")                         \
    X(TOKEN_EXPIRED, 401, UNAUTHENTICATED, "token has expired")                                    \
    X(TOKEN_NOT_YET_VALID, 401, UNAUTHENTICATED, "token is not valid yet")                         \
    X(TOKEN_ISSUER, 401, UNAUTHENTICATED, "token has the wrong issuer")                            \
    X(TOKEN_AUDIENCE, 401, UNAUTHENTICATED, "token has the wrong audience")                        \
    X(TOKEN_REVOKED, 401, UNAUTHENTICATED, "session was revoked")                                  \
    X(TOKEN_KIND, 403, PERMISSION_DENIED, "token is of the wrong kind")                            \
    X(TOKEN_CAPABILITY, 403, PERMISSION_DENIED, "token lacks the capability for this service")     \
    X(TOKEN_COMPUTER, 403, PERMISSION_DENIED, "token is for another computer")                     \
    X(TOKEN_PORT, 403, PERMISSION_DENIED, "token is for another port")                             \
    X(ORIGIN_FOREIGN, 403, PERMISSION_DENIED, "request comes from another origin")                 \
    /* where it goes */                                                                            \
    X(PATH_UNKNOWN, 404, NOT_FOUND, "no such method or path on this host")                         \
    X(HOST_UNKNOWN, 404, NOT_FOUND, "no such host")                                                \
    X(COMPUTER_UNKNOWN, 404, NOT_FOUND, "no such computer")                                        \
    X(COMPUTER_NOT_RUNNING, 503, UNAVAILABLE, "computer is not running")                           \
    X(ROUTE_UNAVAILABLE, 503, UNAVAILABLE, "routes cannot be looked up right now")                 \
    X(ROUTE_REFUSED, 503, UNAVAILABLE, "computer's address is not allowed")                        \
    X(MISDIRECTED, 421, INVALID_ARGUMENT, "host is not served on this connection")                 \
    /* reaching the agent */                                                                       \
    X(AGENT_UNREACHABLE, 503, UNAVAILABLE, "computer's agent cannot be reached")                   \
    X(AGENT_TIMED_OUT, 503, UNAVAILABLE, "computer's agent did not answer in time")                \
    X(AGENT_BUSY, 503, UNAVAILABLE, "computer's agent takes no more streams")                      \
    X(AGENT_LOST, 503, UNAVAILABLE, "connection to the computer was lost")                         \
    X(AGENT_PROTOCOL, 502, UNAVAILABLE, "computer's agent broke the protocol")                     \
    X(AGENT_RESET, 502, UNAVAILABLE, "computer's agent reset the stream")                          \
    X(PORT_CLOSED, 502, UNAVAILABLE, "nothing listens on this port of the computer")               \
    /* the request itself */                                                                       \
    X(MALFORMED, 400, INVALID_ARGUMENT, "request is malformed")                                    \
    X(METHOD_NOT_ALLOWED, 405, UNIMPLEMENTED, "method is not allowed here")                        \
    X(UNSUPPORTED, 501, UNIMPLEMENTED, "not supported")                                            \
    X(VERSION_UNSUPPORTED, 505, UNIMPLEMENTED, "HTTP version is not supported")                    \
    X(UNSUPPORTED_MEDIA, 415, INVALID_ARGUMENT, "content type is not supported")                   \
    X(TARGET_TOO_LONG, 414, INVALID_ARGUMENT, "request target is too long")                        \
    X(HEADERS_TOO_LARGE, 431, RESOURCE_EXHAUSTED, "header fields are too large")                   \
    X(BODY_TOO_LARGE, 413, RESOURCE_EXHAUSTED, "request body is too large")                        \
    X(EXPECTATION_FAILED, 417, INVALID_ARGUMENT, "expectation cannot be met")                      \
    X(REQUEST_TIMED_OUT, 408, DEADLINE_EXCEEDED, "request did not arrive in time")                 \
    X(DEADLINE_EXCEEDED, 504, DEADLINE_EXCEEDED, "deadline exceeded")                              \
    X(LIMIT_REACHED, 429, RESOURCE_EXHAUSTED, "too many requests in flight")                       \
    X(OVERLOADED, 503, RESOURCE_EXHAUSTED, "gateway is short of memory")                           \
    X(DRAINING, 503, UNAVAILABLE, "gateway is shutting down")                                      \
    X(CANCELED, 499, CANCELED, "request was canceled")                                             \
    X(CLIENT_LOST, 499, CANCELED, "client went away")                                              \
    /* ours */                                                                                     \
    X(CONFIG_INVALID, 500, INTERNAL, "configuration is invalid")                                   \
    X(SYSTEM, 500, INTERNAL, "system call failed")                                                 \
    X(CLOSED, 500, INTERNAL, "closed")                                                             \
    X(INTERNAL, 500, INTERNAL, "internal error")

enum status {
#define X(name, http, code, words) STATUS_##name,
    STATUS_TABLE(X)
#undef X
        STATUS_COUNT
};

const char *status_name(enum status status);  /* "token_expired": logs, metrics, X-Gateway-Error */
const char *status_words(enum status status); /* for the client */
unsigned status_http(enum status status);
