/* http/h2_session.h — what both sides of HTTP/2 (RFC 9113) share: one nghttp2 session over one
 * conn. Reads into a scratch buffer of the worker, frames the output of one turn into one write,
 * keeps flow control exact, counts what a peer may not do often, and notices a dead peer.
 * h2_codec.c (server) and h2_client.c put the roles on top. Private to this folder.
 *
 *   conn readable ─▶ nghttp2 ─▶ h2_headers.c collects a head ─▶ role->on_head ─▶ exchange events
 * (h2_input.c) exchange ops (h2_stream.c) ─▶ nghttp2 queue, stream->base.out ─▶ flush task ─▶ one
 * write        (h2_output.c)
 *
 * Three kinds of end. h2_session_terminate(): GOAWAY first. h2_session_finish(): owners are told,
 * nothing more moves. h2_session_dispose(): the codec lets go; the memory stays until nghttp2 is
 * off the stack and the last stream is released, because exchange->link points into it. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "http/exchange.h"
#include "http/h2_flood.h"
#include "net/timer.h"

struct h2_session;

enum { H2_FRAME_DATA_BYTES = 16384, H2_FRAME_HEAD_BYTES = 9 };

/* Why we end a connection; the server counts them. */
enum h2_verdict {
    H2_NO_VERDICT,
    H2_IDLE,
    H2_GLITCHES,
    H2_RESETS,
    H2_FLOOD,
    H2_STALLED,
    H2_PROTOCOL
};

/* One stream. Lives until nghttp2 has closed it and the owner has released it. */
struct h2_stream {
    struct exchange base;
    struct h2_session *session;
    struct list link; /* in session->streams, or ->orphans once the session is finished */
    int32_t id;
    enum status refusal;     /* why this head gets no owner (431, 400 …); STATUS_OK: none */
    size_t unconsumed_bytes; /* delivered to the owner, window not yet reopened */
    size_t field_bytes;
    uint32_t field_count;
    uint32_t crumb_count;
    uint64_t body_bytes; /* received */
    uint64_t opened_ms;
    uint64_t stuck_since_ms; /* `out` holds bytes and none left since; 0: nothing waits */
    uint64_t head_offset;    /* client: where in the output its HEADERS began */
    uint64_t stop_due_ms;    /* server: the answer is out, the upload not yet; 0: not so */
    struct head *collecting; /* the head that fields go to; NULL for trailers */
    bool is_closed : 1;      /* nghttp2 knows it no more */
    bool is_released : 1;
    bool was_owned : 1;   /* an owner got it: it is freed only when that one has released it */
    bool has_owner : 1;   /* events may run */
    bool is_deferred : 1; /* the data source had nothing: resume when there is */
    bool has_source : 1;  /* a data source was submitted */
    bool head_framed : 1; /* our head left nghttp2's queue */
    bool end_framed : 1;  /* our END_STREAM did */
    bool we_reset : 1;    /* the RST_STREAM is not the peer's fault */
    bool peer_reset : 1;
    bool is_glitch : 1;     /* counted when it happened: not again when the RST_STREAM leaves */
    bool head_received : 1; /* the final head; fields that follow are trailers */
    char inline_memory[];
};

struct h2_role {
    bool is_server;
    size_t arena_bytes; /* inline memory of a stream */
    /* A whole head has arrived in stream->collecting; base.in_ended is set when nothing follows. */
    void (*on_head)(struct h2_session *session, struct h2_stream *stream);
    /* Bookkeeping only, before its owner is told. */
    void (*on_stream_closed)(struct h2_session *session, const struct h2_stream *stream,
                             enum exchange_reset reason);
    void (*on_room)(struct h2_session *session); /* after that: one more may be opened */
    void (*on_settings)(struct h2_session *session);
    void (*on_goaway)(struct h2_session *session, uint32_t error_code);
    void (*on_turn)(struct h2_session *session); /* before the output of a turn is framed */
    /* Every owner was told; the codec's last word. Reason: CLOSED, SYSTEM (transport), MALFORMED,
     * LIMIT_REACHED. */
    void (*on_finished)(struct h2_session *session, enum status reason);
    void (*free)(
        struct h2_session *session); /* after dispose: frees the struct that embeds the session */
};

struct h2_session {
    nghttp2_session *ng;
    const struct h2_role *role;
    const struct http_limits *limits;
    struct conn *conn; /* borrowed from the codec or client that embeds this */
    struct loop *loop;
    struct exchange_link *link;
    struct task flush;
    struct timer watchdog;
    struct timer stop_uploads; /* see h2_stream_answered() */
    struct buf backlog;        /* framed, not yet taken by the transport */
    struct list streams;
    struct list orphans;
    struct h2_stream *block_stream; /* whose header block is arriving */
    struct h2_flood flood;
    size_t stream_count; /* streams of work: not yet freed */
    uint32_t stream_limit;
    size_t framing_bytes; /* in the write scratch during a flush */
    uint64_t framed_total;
    uint64_t written_total;
    size_t block_bytes; /* compressed bytes of the header block being received */
    uint32_t block_frames;
    uint64_t last_heard_ms;
    uint64_t last_written_ms; /* progress of the backlog */
    uint64_t ping_sent_ms;    /* 0: no PING of ours is out */
    uint64_t idle_since_ms;
    uint64_t draining_since_ms;
    uint64_t terminated_ms; /* 0: not yet */
    unsigned entry_depth;
    enum h2_verdict verdict;
    const char *verdict_reason; /* for the log; NULL: nothing to blame the peer for */
    enum status finish_reason;
    bool is_in_nghttp2; /* on the stack: it may neither be re-entered nor freed */
    bool want_finish;
    bool is_finished;
    bool is_disposed;
    bool is_draining;   /* GOAWAY 2^31-1 is out, the last one follows its PING */
    bool is_drained;    /* the last GOAWAY is out */
    bool peer_violated; /* nghttp2 said GOAWAY with an error */
};

/* h2_session.c. `session` is embedded in the caller's zeroed struct. Submits our SETTINGS. */
void h2_session_init(struct h2_session *session, const struct h2_role *role, struct conn *conn,
                     const struct http_limits *limits, struct exchange_link *link,
                     bool enable_connect_protocol);
void h2_session_finish(struct h2_session *session,
                       enum status reason); /* safe anywhere, idempotent */
void h2_session_terminate(struct h2_session *session, uint32_t error_code, enum h2_verdict verdict,
                          const char *reason);
void h2_session_drain(struct h2_session *session); /* server: graceful, in two steps */
void h2_session_notice_sent(struct h2_session *session);
void h2_session_drain_step(struct h2_session *session, const uint8_t *ping_opaque);
/* Around whatever is submitted to nghttp2: without it a stream would wait for ever. */
void h2_session_check(struct h2_session *session, int result);
enum status h2_session_failure(ssize_t result); /* why a session finishes whose nghttp2 failed */
void h2_session_dispose(struct h2_session *session); /* last call; the conn is gone after it */
/* h2_stream.c. The response is out and its owner has gone, yet the client still sends: it is told to stop (RST_STREAM with NO_ERROR,
 * RFC 9113 §8.1), but only a moment later, since clients lose an answer that a reset overtakes (curl 7.88) and small uploads end by
 * themselves. What comes meanwhile is dropped, and no window reopened for it. */
void h2_stream_answered(struct h2_stream *stream);
void h2_stream_stop_uploads(struct h2_session *session);
void h2_session_glitch(struct h2_session *session);
void h2_session_announce_streams(struct h2_session *session, uint32_t limit);
/* Around whatever enters from the loop; leave() may free the session. */
void h2_session_enter(struct h2_session *session);
void h2_session_leave(struct h2_session *session);
void h2_session_free_if_done(struct h2_session *session);

static inline uint64_t h2_now_ms(const struct h2_session *session)
{
    return loop_clock(session->loop)->now_ms;
}

/* h2_memory.c: nghttp2's small pieces, kept per thread. */
nghttp2_mem *h2_memory(void);

/* h2_input.c */
void h2_session_readable(struct h2_session *session);
void h2_session_feed(struct h2_session *session, struct slice bytes);
void h2_input_callbacks(nghttp2_session_callbacks *callbacks);

/* h2_output.c */
void h2_session_schedule(struct h2_session *session); /* flush at the end of this turn */
void h2_session_writable(struct h2_session *session);
void h2_output_init(struct h2_session *session);
void h2_output_callbacks(nghttp2_session_callbacks *callbacks);
nghttp2_data_provider h2_stream_source(struct h2_stream *stream); /* frames stream->base.out */

/* h2_stream.c */
extern const struct exchange_ops h2_stream_ops;
struct h2_stream *h2_stream_create(struct h2_session *session, int32_t id);
void h2_stream_closed(struct h2_stream *stream, uint32_t error_code);      /* by nghttp2 */
void h2_stream_lost(struct h2_stream *stream, enum exchange_reset reason); /* tells the owner */
void h2_stream_orphan(struct h2_stream *stream); /* the session is finished */
void h2_stream_reset(struct h2_stream *stream, uint32_t error_code, enum exchange_reset reason);

/* h2_headers.c: a header block becomes a head. */
int h2_headers_begin(struct h2_session *session, const nghttp2_frame *frame);
int h2_headers_field(struct h2_session *session, struct slice name, struct slice value);
void h2_headers_complete(struct h2_session *session, const nghttp2_frame *frame);
enum status h2_request_check(const struct h2_stream *stream, bool allow_connect,
                             bool allow_websocket);

/* h2_nv.c: a head becomes fields for nghttp2; hop-by-hop fields are left out. */
enum { H2_NV_INLINE = 72 };
struct h2_nv_list {
    nghttp2_nv *items;
    size_t count;
    nghttp2_nv inline_items[H2_NV_INLINE];
    char status_text[4];
};
void h2_nv_request(struct h2_nv_list *list, struct arena *arena, const struct head *head);
void h2_nv_response(struct h2_nv_list *list, struct arena *arena, const struct head *head,
                    bool can_tunnel);
void h2_nv_trailers(struct h2_nv_list *list, struct arena *arena, const struct fields *fields);
