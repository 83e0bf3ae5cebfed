/* http/exchange.h — one request with its response or tunnel, seen from one codec and protocol-neutral. A codec makes it
 * (server side: a request head arrived; client side: http_client_open), one owner gives it meaning (a call, an agent's
 * service), and each talks to the other through the two tables below.
 *
 *     codec ── on_head, on_body, on_end, on_drained, on_reset ──▶ owner
 *     codec ◀── send_head, write, end, consumed, reset, release ── owner
 *
 * Rules that every codec obeys:
 *  - No operation calls an event before it returns; events may call any operation of any exchange.
 *  - Input: at most `window_bytes` (64 KiB) are delivered and not yet consumed; exchange_consumed() lets more come.
 *    The owner takes all bytes of an on_body at once.
 *  - Output: exchange_write() copies into `out`; the codec frames it at the end of the turn, as the peer's windows and the
 *    transport allow, and tells on_drained(count). The owner holds back the source, so `out` stays bounded.
 *  - After exactly one of "both directions ended", "on_reset" and "exchange_reset" nothing more is delivered. The owner
 *    calls exchange_release() once, at any time; releasing an unfinished exchange resets it. The memory (arena included)
 *    lives until then at least. */
#pragma once

#include "base/buf.h"
#include "http/message.h"
#include "net/conn.h"

struct exchange;

enum exchange_reset {
    RESET_CANCEL, /* the peer no longer wants it (h2 CANCEL; h1: connection closed) */
    RESET_REFUSED, /* provably not processed (h2 REFUSED_STREAM, above GOAWAY's last id, conn lost before sending) */
    RESET_PROTOCOL, /* malformed */
    RESET_INTERNAL, /* h2 INTERNAL_ERROR and every code that has no name here */
    RESET_NO_ERROR, /* server side: response complete, rest of the request not wanted (RFC 9113 §8.1) */
    RESET_CALM, /* h2 ENHANCE_YOUR_CALM */
    RESET_LOST, /* the connection broke or was closed under it */
};

/* What the codec tells the owner. All may be NULL-free; every entry must be set. */
struct exchange_events {
    /* Client side: a 1xx response (101 comes as on_head). */
    void (*on_interim)(struct exchange *exchange, const struct head *head);
    /* Client side: the final response head; exchange->in_ended says that no body and no trailers follow. */
    void (*on_head)(struct exchange *exchange, const struct head *head);
    void (*on_body)(struct exchange *exchange, struct slice bytes); /* never empty */
    /* The peer finished its direction (not called when the head came with in_ended set). Trailers may be empty. */
    void (*on_end)(struct exchange *exchange, const struct fields *trailers);
    /* `size_bytes` left `out` for the transport. */
    void (*on_drained)(struct exchange *exchange, size_t size_bytes);
    void (*on_reset)(struct exchange *exchange, enum exchange_reset reason);
};

struct exchange_ops {
    void (*send_interim)(struct exchange *exchange, const struct head *head);
    void (*send_head)(struct exchange *exchange, const struct head *head, bool end);
    void (*output_grew)(struct exchange *exchange); /* `out` has new bytes or out_ended was set */
    void (*consumed)(struct exchange *exchange, size_t size_bytes);
    void (*reset)(struct exchange *exchange, enum exchange_reset reason);
    void (*release)(struct exchange *exchange);
};

/* Facts of the connection that carries an exchange; one per connection, shared by its exchanges. */
struct exchange_link {
    struct address peer;      /* from PROXY protocol when the listener takes it */
    struct conn_tls_info tls; /* version NULL in clear */
    enum http_version version;
    uint64_t serial; /* number of this connection in its worker */
    bool is_trusted; /* has carried a verified token: the owner sets it; raises the stream limit */
    /* A place for the owner to remember something per connection, such as the last token; freed with memo_free. */
    void *memo;
    void (*memo_free)(void *memo);
};

/* Embedded first in the codec's own stream struct. */
struct exchange {
    const struct exchange_ops *ops;
    const struct exchange_events *events; /* NULL until the owner sets it */
    void *owner;
    struct exchange_link *link; /* borrowed; valid until release */
    struct arena arena;         /* heads, trailers, and whatever the owner wants to live as long */
    union {
        struct head request;  /* server side: as received */
        struct head response; /* client side: as received */
    };
    struct fields trailers;     /* as received */
    struct fields out_trailers; /* to send; set by exchange_end */
    struct buf out;
    bool in_ended;  /* the peer has finished */
    bool out_ended; /* exchange_end was called (or the head was sent with end) */
    bool head_sent; /* server side */
    bool is_dead;   /* reset by either side: operations do nothing */
    bool
        can_tunnel; /* server side: CONNECT or Upgrade; a 2xx/101 head makes both bodies raw bytes */
};

static inline void exchange_set_owner(struct exchange *exchange,
                                      const struct exchange_events *events, void *owner)
{
    exchange->events = events;
    exchange->owner = owner;
}

/* Server side: 100, 102, 103. Nothing is kept of `head`. */
void exchange_send_interim(struct exchange *exchange, const struct head *head);

/* Server side, once: the final response head; nothing is kept of `head`, slices included. `end`: no body, no trailers. */
void exchange_send_head(struct exchange *exchange, const struct head *head, bool end);

void exchange_write(struct exchange *exchange, struct slice bytes);

/* Ends our direction after what is in `out`. `trailers` may be NULL; its slices must live as long as the exchange. */
void exchange_end(struct exchange *exchange, const struct fields *trailers);

/* `size_bytes` of delivered input went on: the window opens by as much. With 0: the owner wants the body of a request
 * that came with `Expect: 100-continue`; an HTTP/1.1 codec that has sent neither an interim nor a final head yet then
 * sends 100 (it does so by itself after one second). */
void exchange_consumed(struct exchange *exchange, size_t size_bytes);

/* For a stream that stays open: of the head, control data and the fields whose ids are in `kept` stay, in a piece of
 * memory of just that size; everything else in the arena is gone, what the owner put there included. Does nothing while
 * trailers wait to be sent. HTTP/1 exchanges live in memory of their connection and gain nothing. */
void exchange_shrink(struct exchange *exchange, const enum field_id *kept, size_t kept_count);

/* For HTTP/2's codec, before the owner sees it: moves the head to an arena of just its size and `room_bytes`. */
void exchange_compact(struct exchange *exchange, size_t room_bytes);

/* Tells the peer, drops what is in `out`, ends both directions. Does nothing on a dead one. */
void exchange_reset(struct exchange *exchange, enum exchange_reset reason);

/* The owner is done. Sets *exchange to NULL; may already be NULL. */
void exchange_release(struct exchange **exchange);

/* For codecs, when the connection is gone and its exchanges are released: frees what the owner remembered. */
void exchange_link_deinit(struct exchange_link *link);

static inline bool exchange_is_finished(const struct exchange *exchange)
{
    return exchange->is_dead ||
           (exchange->in_ended && exchange->out_ended && exchange->out.len == 0);
}
