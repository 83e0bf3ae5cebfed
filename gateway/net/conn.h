/* net/conn.h — one byte transport: TCP, TLS over TCP, (tests) memory, (published ports) a tunnel. The codec above it
 * reads into its own bounded buffers and gathers its own writes; a conn buffers nothing but what TLS needs.
 *
 * Life: created by a listener or by conn_connect_start(); on_open runs once with OK (connected, and the TLS handshake
 * done) or with the error; then on_readable/on_writable as asked; conn_destroy() ends it at any time, after which no
 * callback runs. Destroying inside a callback of the same conn is allowed. */
#pragma once

#include "net/address.h"
#include "net/loop.h"

struct conn;
struct tls_context;

struct conn_events {
    void (*on_open)(
        void *owner,
        enum status status);          /* OK, AGENT_UNREACHABLE, AGENT_TIMED_OUT, MALFORMED (TLS) */
    void (*on_readable)(void *owner); /* bytes, end of file or an error wait in conn_read() */
    void (*on_writable)(void *owner); /* once after conn_want_write() */
};

/* What TLS agreed on. Slices are borrowed from the conn. */
struct conn_tls_info {
    const char *version; /* "TLSv1.3"; NULL in clear */
    const char *cipher;
    struct slice server_name; /* SNI as sent, lower-cased; empty when none */
    struct slice alpn;        /* "h2", "http/1.1"; empty when none */
    bool resumed;
    const char *refusal; /* when on_open failed: why we refused the peer's certificate, in words;
                            NULL: for another reason */
};

struct conn_ops {
    enum status (*read)(struct conn *conn, char *into, size_t size_bytes, size_t *out_count);
    enum status (*write)(struct conn *conn, const struct slice *parts, size_t part_count,
                         size_t *out_count);
    void (*want_read)(struct conn *conn, bool enabled);
    void (*want_write)(struct conn *conn);
    void (*shutdown)(struct conn *conn); /* no more writes: TLS close_notify, then FIN */
    void (*destroy)(struct conn *conn);
};

/* The common part of every kind; a kind embeds it first. */
struct conn {
    const struct conn_ops *ops;
    struct loop *loop;
    const struct conn_events *events;
    void *owner;
    struct address peer;
    struct conn_tls_info tls;
    size_t
        unsent_bytes; /* that conn_write() took and the socket never did, once it failed; 0 over TLS */
    bool was_refused;       /* on_open said AGENT_UNREACHABLE because nobody listens there */
    bool peer_is_announced; /* by a PROXY header: until on_open, `peer` is the balancer */
};

/* Borrows both until they are set again or the conn is destroyed. A listener hands out conns with no owner. */
static inline void conn_set_owner(struct conn *conn, const struct conn_events *events, void *owner)
{
    conn->events = events;
    conn->owner = owner;
}

/* OK: 1 to size_bytes bytes were read (a short count means that the transport is likely empty now). AGAIN: nothing now;
 * on_readable will tell, if reading is wanted. CLOSED: clean end (FIN; TLS close_notify). SYSTEM: reset, or TLS broke, or
 * FIN without close_notify: what came before may be cut. */
static inline MUST_CHECK enum status conn_read(struct conn *conn, char *into, size_t size_bytes,
                                               size_t *out_count)
{
    return conn->ops->read(conn, into, size_bytes, out_count);
}

/* Gathers `part_count` (≤ 64) slices. OK: *out_count bytes went out, or will at the end of the turn, maybe fewer than given
 * (then the transport is full). AGAIN: none went out. SYSTEM: the conn is dead. */
static inline MUST_CHECK enum status conn_write(struct conn *conn, const struct slice *parts,
                                                size_t part_count, size_t *out_count)
{
    return conn->ops->write(conn, parts, part_count, out_count);
}

static inline void conn_want_read(struct conn *conn, bool enabled)
{
    conn->ops->want_read(conn, enabled);
}

static inline void conn_want_write(struct conn *conn)
{
    conn->ops->want_write(conn);
}

static inline void conn_shutdown(struct conn *conn)
{
    conn->ops->shutdown(conn);
}

/* Closes at once; what conn_write() took still goes out, but unread input makes the peer see a reset (see conn_linger),
 * and over TLS there is no close_notify without conn_shutdown(). Sets *conn to NULL; may already be NULL. */
void conn_destroy(struct conn **conn);

/* Takes the conn. Polite close after an error reply: shutdown, then read and discard for at most 5 s between bytes, 30 s
 * and 1 MiB in all, then close. Sets *conn to NULL. */
void conn_linger(struct conn **conn);

struct conn_connect_options {
    struct tls_context *tls; /* NULL: clear; borrowed */
    struct slice
        server_name; /* SNI and the name that the certificate must carry; empty: verify the chain alone */
    uint64_t timeout_ms; /* for all, TLS handshake included */
};

/* Returns owned; on_open follows on a later turn, never before this returns. Copies what it keeps of the options. */
struct conn *conn_connect_start(struct loop *loop, const struct address *to,
                                const struct conn_connect_options *options,
                                const struct conn_events *events, void *owner);

/* Server side. Takes `fd` (accepted). In clear, on_open follows on the next task run; over TLS, after the handshake. */
struct conn *conn_accepted(struct loop *loop, int fd, const struct address *peer,
                           struct tls_context *tls, uint64_t handshake_timeout_ms);

/* The same behind a balancer: first its PROXY header (within `header_timeout_ms`), whose address conn->peer is from then
 * on. on_open gets MALFORMED for anything else, AGENT_TIMED_OUT or AGENT_UNREACHABLE when it does not come. */
struct conn *conn_accepted_proxied(struct loop *loop, int fd, const struct address *peer,
                                   struct tls_context *tls, uint64_t handshake_timeout_ms,
                                   uint64_t header_timeout_ms);
