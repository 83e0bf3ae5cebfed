/* http/h1_writer.h — what goes out on an HTTP/1.1 connection: heads that are checked once more
 * before they are text, and the body framed straight from exchange->out, so that one turn is one
 * gathered write and nothing is copied. Private to this folder.
 *
 *     backlog ▸ head ▸ chunk line ▸ exchange->out ▸ CRLF, last chunk, trailers
 *
 * The backlog is what was framed when the transport was full, never body bytes.
 *
 * Trailers go out whenever the body is chunked, whether the request said `TE: trailers` or not: a
 * recipient that does not know them skips them (RFC 9112 §7.1.2), and gRPC-Web and Connect clients
 * behind old libraries forget to ask. */
#pragma once

#include "http/exchange.h"

enum h1_out_kind {
    H1_OUT_NOTHING, /* no body on the wire: what is written is dropped */
    H1_OUT_LENGTH,
    H1_OUT_CHUNKED,
    H1_OUT_RAW, /* until close, or a tunnel */
};

struct h1_writer {
    struct buf backlog;
    struct slice head;   /* in the exchange's arena; not written yet */
    struct slice ending; /* last chunk and trailers, once made */
    enum h1_out_kind kind;
    uint64_t left;          /* H1_OUT_LENGTH: of the body */
    size_t chunk_left;      /* H1_OUT_CHUNKED: of the chunk whose line is out */
    uint64_t written_bytes; /* of this message, and backlog before it */
    bool is_open;           /* the final head was given: the body may follow */
    bool is_done; /* all of the message was handed to the transport or rests in the backlog */
};

struct h1_response_facts {
    bool is_head_request;
    bool is_http_1_0;
    bool can_upgrade; /* 101 opens a tunnel */
    bool is_connect;  /* 2xx opens a tunnel */
    bool keep_alive;  /* in and out: cleared when the framing forbids it */
    bool is_tunnel;   /* out */
};

void h1_writer_deinit(struct h1_writer *writer);

/* Ready for the next message; the backlog stays. */
void h1_writer_restart(struct h1_writer *writer);

/* MALFORMED: the head breaks HTTP/1.1 (a bad name, value, target, status, length); nothing was
 * added. */
MUST_CHECK enum status h1_writer_response(struct h1_writer *writer, struct arena *arena,
                                          const struct head *head, bool end,
                                          struct h1_response_facts *facts);
MUST_CHECK enum status h1_writer_interim(struct h1_writer *writer, struct arena *arena,
                                         const struct head *head);
MUST_CHECK enum status h1_writer_request(struct h1_writer *writer, struct arena *arena,
                                         const struct head *head, bool end);

/* Writes what can be written; `exchange` may be NULL (the backlog alone). Adds to *out_drained what
 * left exchange->out. OK: nothing more to write now. AGAIN: the transport is full. SYSTEM: the conn
 * is dead. MALFORMED: the owner broke the length that it had promised, or its trailers are bad: the
 * peer must see the message cut. */
MUST_CHECK enum status h1_writer_flush(struct h1_writer *writer, struct conn *conn,
                                       struct exchange *exchange, size_t *out_drained);

static inline bool h1_writer_is_empty(const struct h1_writer *writer)
{
    return writer->backlog.len == 0 && writer->head.len == 0;
}
