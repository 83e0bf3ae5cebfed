/* http/h2_session.h — what both sides of HTTP/2 (RFC 9113) share: one nghttp2 session over one conn. Reads into a scratch
 * buffer of the worker, frames the output of one turn into one write, keeps flow control exact, counts what a peer may not
 * do often, and notices a dead peer. h2_codec.c (server) and h2_client.c put the roles on top. Private to this folder.
 *
 *   conn readable ─▶ nghttp2 ─▶ h2_headers.c collects a head ─▶ role->on_head ─▶ exchange events
 *   exchange ops ─▶ nghttp2 queue, stream->base.out ─▶ flush task (end of turn) ─▶ one write */
#pragma once

#include <nghttp2/nghttp2.h>

#include "http/exchange.h"
#include "http/limits.h"
#include "net/timer.h"

struct h2_session;

enum { H2_STREAM_ARENA_BYTES = 1536, H2_FRAME_DATA_BYTES = 16384 };

/* One stream. Lives until nghttp2 has closed it and the owner has released it. */
struct h2_stream {
    struct exchange base;
    struct h2_session *session; /* NULL once the session is gone */
    struct list link;           /* in session->streams */
    int32_t id;
    size_t unconsumed_bytes;    /* delivered to the owner, window not yet reopened */
    struct head *collecting;    /* the head that on_header fills; NULL for trailers */
    size_t field_bytes;
    uint32_t field_count;
    uint32_t crumb_count;
    enum status refusal;        /* why this head gets no owner (431, 400 …); STATUS_OK: none */
    uint64_t opened_ms;
    bool is_closed;             /* nghttp2 knows it no more */
    bool is_released;
    bool is_deferred;           /* the data source had nothing: resume when there is */
    bool has_source;            /* a data source was submitted */
    bool head_framed;           /* client: the request head left nghttp2's queue */
    bool we_reset;
    bool delivered;             /* the head was given to an owner */
    char inline_memory[H2_STREAM_ARENA_BYTES];
};

struct h2_role {
    bool is_server;
    /* A whole head has arrived in stream->collecting. */
    void (*on_head)(struct h2_session *session, struct h2_stream *stream, bool ended);
    /* nghttp2 closed the stream; its owner was told already. */
    void (*on_stream_closed)(struct h2_session *session, struct h2_stream *stream);
    void (*on_goaway)(struct h2_session *session);
    void (*on_settings)(struct h2_session *session);
    /* The conn is finished; every owner was told. Last call: the role schedules the end of the session. */
    void (*on_finished)(struct h2_session *session, enum status reason);
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
    struct buf backlog; /* framed, not yet taken by the transport */
    struct list streams;
    size_t live_count;       /* streams that are open at nghttp2 or not released by their owner */
    size_t framing_bytes;    /* in the write scratch during a flush */
    size_t block_bytes;      /* compressed bytes of the header block being received */
    uint64_t last_heard_ms;
    uint64_t last_written_ms; /* progress of the backlog */
    uint64_t ping_sent_ms;    /* 0: no PING of ours is out */
    uint64_t idle_since_ms;
    uint64_t glitch_window_ms;
    uint32_t glitch_count;
    enum status finish_reason;
    bool is_finished;
    bool is_in_callback; /* inside nghttp2_session_mem_recv/send */
    bool want_finish;
};

/* `session` is embedded in the caller's zeroed struct. Submits our SETTINGS. */
void h2_session_init(struct h2_session *session, const struct h2_role *role, struct conn *conn,
                     const struct http_limits *limits, struct exchange_link *link,
                     bool enable_connect_protocol);

/* Frees everything but the conn. Streams that are still owned live on, detached, after on_reset(RESET_LOST). */
void h2_session_deinit(struct h2_session *session);

/* The conn's events end here. */
void h2_session_readable(struct h2_session *session);
void h2_session_writable(struct h2_session *session);

/* Feeds bytes that were read before the session existed. */
void h2_session_feed(struct h2_session *session, struct slice bytes);

void h2_session_schedule(struct h2_session *session); /* flush at the end of this turn */

/* Ends the session: owners get on_reset(RESET_LOST), then role->on_finished. Safe anywhere, idempotent. */
void h2_session_finish(struct h2_session *session, enum status reason);

/* GOAWAY with `error_code`, then finish when it is written. */
void h2_session_terminate(struct h2_session *session, uint32_t error_code);

/* Counts a protocol glitch; over the limit the session ends (SECURITY: MadeYouReset). */
void h2_session_glitch(struct h2_session *session);

struct h2_stream *h2_stream_create(struct h2_session *session, int32_t id);
void h2_stream_set_id(struct h2_stream *stream, int32_t id);
extern const struct exchange_ops h2_stream_ops;
extern const nghttp2_data_provider h2_no_source;

/* Submits nothing by itself: the provider that frames stream->base.out. */
nghttp2_data_provider h2_stream_source(struct h2_stream *stream);

/* h2_headers.c */
enum { H2_MAX_NV = 320 };

int h2_headers_begin(struct h2_session *session, const nghttp2_frame *frame);
int h2_headers_field(struct h2_session *session, const nghttp2_frame *frame, struct slice name,
                     struct slice value);
int h2_headers_invalid_field(struct h2_session *session, const nghttp2_frame *frame);
enum status h2_request_check(struct h2_stream *stream, bool allow_connect,
                             bool allow_websocket);

/* Fill `nva` (of H2_MAX_NV) from a head; hop-by-hop fields are left out. Returns the count. */
size_t h2_request_nv(const struct head *head, nghttp2_nv *nva);
size_t h2_response_nv(const struct head *head, bool is_tunnel, char *status_text, nghttp2_nv *nva);
size_t h2_fields_nv(const struct fields *fields, nghttp2_nv *nva);
