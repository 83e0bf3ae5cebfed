/* http/server.h — the server side of a worker: takes conns from listeners, picks the codec (ALPN; in clear the first bytes:
 * HTTP/2 with prior knowledge or HTTP/1.1 on one port), hands every request to one handler, and closes what is idle. */
#pragma once

#include "base/counter.h"
#include "http/exchange.h"
#include "http/limits.h"

struct address_count;
struct http_server;

/* Takes the exchange: sets an owner before returning and releases it in the end. Body and end events may follow at once. */
typedef void http_request_fn(void *owner, struct exchange *exchange);

struct http_server_options {
    const struct http_limits *limits; /* borrowed */
    struct address_count
        *addresses; /* conns of each client address in the process; borrowed; NULL: not counted */
    bool enable_connect_protocol; /* SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441) */
    bool
        allow_connect; /* plain CONNECT becomes an exchange (guest agents' tunnels); else refused */
    /* Makes the body (JSON) of a refusal that the codec itself must give (400, 414, 431 …); NULL: empty body. Head
     * fields beyond the framing are added by it as well. The exchange has no owner yet. */
    void (*refuse)(void *owner, struct exchange *exchange, enum status status);
    http_request_fn *on_request;
    void *owner;
};

struct http_server_counters {
    struct counter conns_open, conns_total, h1_requests, h2_requests, refused_requests;
    struct counter closed_head_timeout, closed_idle, closed_glitches, closed_resets, closed_flood,
        closed_stalled, closed_memory;
    struct counter refused_streams;             /* HTTP/2, over limits.h2.streams */
    struct counter stalled_streams;             /* HTTP/2, their window stayed shut */
    struct counter conns_retired;               /* after limits.h2.streams_total */
    struct counter closed_protocol;             /* HTTP/2 that was none */
    struct counter refused_address;             /* conns over limits.connections_per_address */
    struct counter tls_handshakes, tls_resumed; /* that came to their end */
    struct counter open_malformed, open_timed_out,
        open_lost; /* TLS handshakes and PROXY headers that did not */
};

struct http_server *http_server_create(struct loop *loop,
                                       const struct http_server_options *options);
/* Closes every conn at once; owners see on_reset(RESET_LOST) and must have released when this returns. */
void http_server_destroy(struct http_server **server);

/* Takes the conn (on_open still to come). `on_closed(arg)` runs once, when it is gone. */
void http_server_accept(struct http_server *server, struct conn *conn, void (*on_closed)(void *arg),
                        void *arg);

/* No new requests: h2 gets GOAWAY (2^31-1, then after one PING round trip the last id), h1 answers carry
 * `Connection: close`, idle conns close. The conns are told one after another, evenly over `spread_ms`, so that their
 * clients do not all come back at once; a few go at once in any case. Idempotent. */
void http_server_drain(struct http_server *server, uint64_t spread_ms);

/* The borrowed limits have changed: who waits for something already waits no longer than they say now. */
void http_server_limits_changed(struct http_server *server);

/* Memory is short: ends the conns that carry nothing at the moment, in order. Returns how many. */
size_t http_server_close_idle(struct http_server *server);
/* Appends one JSON object per open conn, separated by commas, at most `limit`; returns how many. */
size_t http_server_list_conns(const struct http_server *server, size_t limit, struct buf *into);
size_t http_server_conn_count(const struct http_server *server);
const struct http_server_counters *http_server_counters(const struct http_server *server);
