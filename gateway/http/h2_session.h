/* http/h2_session.h — what both sides of HTTP/2 (RFC 9113) share: the streams of one conn, its windows
 * and settings. Reads into a scratch buffer of the worker, gathers the output of one turn into one
 * write, keeps flow control exact, counts what a peer may not do often, and notices a dead peer.
 * h2_codec.c (server) and h2_client.c put the roles on top. Private to this folder.
 *
 *   conn ─▶ h2_input.c cuts frames ─▶ h2_receive.c what each means ─▶ h2_headers.c a block becomes a
 *           head ─▶ role->on_head ─▶ events of the exchange
 *   operations of the exchange (h2_stream.c) ─▶ h2_send.c heads and control frames, at once ─▶ output
 *           stream->base.out ─▶ h2_output.c DATA, at the end of the turn ─▶ output ─▶ one write ─▶ conn
 *
 * Streams close in two places only: when the peer resets or disowns them (h2_receive.c), and in the
 * flush (h2_output.c), so no operation of an owner calls events.
 *
 * Three kinds of end. h2_session_terminate() and h2_session_error(): GOAWAY first.
 * h2_session_finish(): owners are told, nothing more moves. h2_session_dispose(): the codec lets go;
 * the memory stays until the last stream is released, because exchange->link points into it. */
#pragma once

#include "http/exchange.h"
#include "http/h2_flood.h"
#include "http/h2_frame.h"
#include "http/hpack.h"
#include "net/timer.h"

struct h2_session;

enum { H2_CONNECTION_WINDOW_BYTES = 1 << 20 }; /* ours, for all streams together */

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

/* One stream. Lives until it is closed on the wire and its owner has released it. */
struct h2_stream {
    struct exchange base;
    struct h2_session *session;
    struct h2_stream *next_of_slot; /* see h2_stream_find() */
    struct list link;               /* in session->streams, or ->orphans once that is finished */
    struct list ready;              /* in session->ready: has something for the flush */
    int32_t id;
    int32_t send_window;     /* may be negative (§6.9.2) */
    int32_t receive_window;  /* what the peer may still send */
    uint32_t consumed_bytes; /* not yet announced by WINDOW_UPDATE */
    enum status refusal;     /* why this head gets no owner (431, 400 …); STATUS_OK: none */
    enum h2_error reset_code;
    size_t unconsumed_bytes; /* delivered to the owner, window not yet reopened */
    size_t field_bytes;
    uint32_t field_count;
    uint32_t crumb_count;
    uint64_t body_bytes;    /* received */
    int64_t promised_bytes; /* of the peer's body; CONTENT_LENGTH_UNKNOWN: any */
    uint64_t opened_ms;
    uint64_t stuck_since_ms; /* `out` holds bytes and hardly any left since; 0: nothing waits */
    uint32_t progress_bytes; /* these; fewer than are progress */
    uint64_t head_offset;    /* client: where in the output its HEADERS began */
    uint64_t stop_due_ms;    /* server: the answer is out, the upload not yet; 0: not so */
    struct head *pending;    /* client: the request, until it is framed; owned, fields included */
    struct head *collecting; /* the head that fields go to; NULL for trailers */
    unsigned pseudo_seen;    /* of the block: see h2_message.c */
    bool regular_seen : 1;   /* of the block: no pseudo field may follow */
    bool is_malformed : 1;   /* of the block: it breaks RFC 9113 §8 */
    bool is_closed : 1;      /* on the wire */
    bool is_released : 1;
    bool was_owned : 1;    /* an owner got it: it is freed only when that one has released it */
    bool has_owner : 1;    /* events may run */
    bool has_source : 1;   /* a body may follow the head */
    bool end_framed : 1;   /* our END_STREAM is framed */
    bool end_received : 1; /* the peer's END_STREAM was */
    bool is_resetting : 1; /* RST_STREAM with reset_code goes out with the flush */
    bool we_reset : 1;     /* the RST_STREAM is not the peer's fault */
    bool peer_reset : 1;
    bool is_glitch : 1;     /* counted when it happened */
    bool head_received : 1; /* the final head; fields that follow are trailers */
    bool asked_head : 1;    /* client: HEAD, no body may come */
    bool asked_connect : 1; /* client: CONNECT, a 2xx has no length */
};

struct h2_role {
    bool is_server;
    size_t arena_bytes; /* of a stream, from its first head on */
    /* A whole head has arrived in stream->collecting; base.in_ended is set when nothing follows. */
    void (*on_head)(struct h2_session *session, struct h2_stream *stream);
    /* Bookkeeping only, before its owner is told. */
    void (*on_stream_closed)(struct h2_session *session, const struct h2_stream *stream,
                             enum exchange_reset reason);
    void (*on_room)(struct h2_session *session); /* after that: one more may be opened */
    void (*on_settings)(struct h2_session *session);
    void (*on_goaway)(struct h2_session *session, uint32_t error_code);
    void (*on_stream_stalled)(struct h2_session *session); /* it is reset next */
    void (*on_turn)(struct h2_session *session); /* before the output of a turn is framed */
    /* Every owner was told; the codec's last word. Reason: CLOSED, SYSTEM (transport), MALFORMED,
     * LIMIT_REACHED. */
    void (*on_finished)(struct h2_session *session, enum status reason);
    void (*free)(
        struct h2_session *session); /* after dispose: frees the struct that embeds the session */
};

/* What h2_input.c has of the frame that is arriving. */
struct h2_reader {
    struct h2_frame_head frame;
    size_t left_bytes; /* DATA: of its payload */
    uint32_t padding;  /* DATA: at its end */
    bool in_data;
    bool is_ignored;       /* of an unknown type: its payload is dropped as it comes (§5.5) */
    bool has_settings;     /* the first frame was right */
    bool wants_pad_length; /* DATA: its first byte says how much padding there is */
    bool has_data;         /* DATA: more than padding came */
    uint8_t preface_bytes; /* server: of the client's preface, seen so far */
    uint8_t head_bytes;    /* in `head` */
    char head[H2_FRAME_HEAD_BYTES];
    struct buf partial;    /* of a frame that is not DATA */
    struct buf block;      /* of a header block in more than one frame */
    int32_t block_stream;  /* CONTINUATION must follow on it; 0: no */
    uint8_t block_flags;   /* of its HEADERS */
    uint32_t block_frames; /* so far */
};

/* What the peer's SETTINGS say. */
struct h2_peer_settings {
    uint32_t streams_max;
    uint32_t window_bytes; /* initial, per stream */
};

struct h2_session {
    const struct h2_role *role;
    const struct http_limits *limits;
    struct conn *conn; /* borrowed from the codec or client that embeds this */
    struct loop *loop;
    struct exchange_link *link;
    struct task flush;
    struct timer watchdog;
    struct timer stop_uploads; /* see h2_stream_answered() */
    struct h2_reader reader;
    struct hpack_decoder decoder;
    struct hpack_encoder encoder;
    struct h2_peer_settings peer;
    struct buf output; /* framed, not yet taken by the transport */
    struct list streams;
    struct list orphans;
    struct list ready;
    struct h2_stream **slots; /* open streams by id; see h2_stream_find() */
    size_t slot_count;        /* a power of two */
    size_t open_count;        /* streams that are not closed */
    size_t stream_count;      /* streams of work: not yet freed */
    struct h2_flood flood;
    uint32_t stream_limit;
    uint32_t refused_streams; /* above the limit, since the codec counted them last */
    int32_t peer_last_id;     /* the highest stream that the peer opened */
    int32_t next_id;          /* of a stream of ours; negative: used up */
    int32_t goaway_last_id;   /* of the peer's last GOAWAY */
    int32_t send_window;
    int32_t receive_window;
    uint32_t consumed_bytes;      /* of the connection's window, not yet announced */
    uint32_t stream_window;       /* that the peer is bound to: ours once it has acknowledged it */
    uint32_t settings_unanswered; /* SETTINGS of ours without an ACK yet */
    uint32_t queued_frames;       /* control frames in `output` since it was last empty */
    uint32_t queued_acks;         /* of them */
    uint64_t written_total;       /* before what is in `output` */
    uint64_t last_heard_ms;
    uint64_t last_written_ms; /* progress of what the transport did not take at once */
    uint64_t ping_sent_ms;    /* 0: no PING of ours is out */
    uint64_t ping_offset;     /* where in the output it began */
    uint64_t idle_since_ms;
    uint64_t draining_since_ms;
    uint64_t terminated_ms; /* 0: not yet */
    unsigned entry_depth;
    enum h2_verdict verdict;
    const char *verdict_reason; /* for the log; NULL: nothing to blame the peer for */
    enum status finish_reason;
    bool is_busy;    /* reading or framing is on the stack: neither may be entered again */
    bool is_blocked; /* the transport took not all of `output`: nothing more is framed */
    bool want_finish;
    bool is_finished;
    bool is_disposed;
    bool is_draining; /* GOAWAY 2^31-1 is out, the last one follows its PING */
    bool is_retiring; /* because of limits->streams_total, not counted yet */
    bool is_drained;  /* the last GOAWAY is out; streams go on */
    bool goaway_received;
    bool peer_has_settings;
    bool takes_protocol; /* server: SETTINGS_ENABLE_CONNECT_PROTOCOL was sent */
    bool is_ending;      /* the very last GOAWAY is framed: nothing is read or framed behind it */
};

/* h2_session.c. `session` is embedded in the caller's zeroed struct. Frames our SETTINGS. */
void h2_session_init(struct h2_session *session, const struct h2_role *role, struct conn *conn,
                     const struct http_limits *limits, struct exchange_link *link,
                     bool enable_connect_protocol);
void h2_session_finish(struct h2_session *session,
                       enum status reason); /* safe anywhere, idempotent */
/* A connection error of the peer (§5.4.1). */
void h2_session_error(struct h2_session *session, enum h2_error code);
void h2_session_terminate(struct h2_session *session, enum h2_error code, enum h2_verdict verdict,
                          const char *reason);
void h2_session_drain(struct h2_session *session); /* server: graceful, in two steps */
/* A client has said GOAWAY: when nothing is open and nothing comes, its connection is closed soon. */
void h2_session_peer_leaves(struct h2_session *session);
void h2_session_drain_step(struct h2_session *session, const char *ping_opaque);
void h2_session_dispose(struct h2_session *session); /* last call; the conn is gone after it */
void h2_session_glitch(struct h2_session *session);
/* The borrowed limits have changed: looks soon whether somebody waits for too long now. */
void h2_session_limits_changed(struct h2_session *session);
void h2_session_announce_streams(struct h2_session *session, uint32_t limit);
/* Around whatever enters from the loop; leave() may free the session. */
void h2_session_enter(struct h2_session *session);
void h2_session_leave(struct h2_session *session);
void h2_session_free_if_done(struct h2_session *session);

static inline uint64_t h2_now_ms(const struct h2_session *session)
{
    return loop_clock(session->loop)->now_ms;
}

/* Has an owner or a verdict ended it while an event ran? */
static inline bool h2_session_is_over(const struct h2_session *session)
{
    return session->is_finished || session->want_finish || session->is_ending;
}

/* h2_input.c */
void h2_session_readable(struct h2_session *session);
void h2_session_feed(struct h2_session *session, struct slice bytes);
void h2_reader_deinit(struct h2_reader *reader);

/* h2_receive.c: whole frames, and DATA as it comes. */
void h2_frame_begins(struct h2_session *session, struct h2_frame_head frame);
void h2_frame_received(struct h2_session *session, struct h2_frame_head frame,
                       struct slice payload);
void h2_data_begins(struct h2_session *session, struct h2_frame_head frame);
void h2_data_received(struct h2_session *session, int32_t stream_id, struct slice bytes);
void h2_data_ended(struct h2_session *session, struct h2_frame_head frame, bool is_empty);
/* Its owner has taken as much: the window opens again. */
void h2_stream_reopen(struct h2_stream *stream, size_t size_bytes);
/* Bytes of DATA that no owner gets: padding, closed streams. */
void h2_data_dropped(struct h2_session *session, int32_t stream_id, size_t size_bytes);

/* h2_send.c: into `output`, in order. */
void h2_send_settings(struct h2_session *session, const struct h2_setting *settings, size_t count);
void h2_send_settings_ack(struct h2_session *session);
void h2_send_ping(struct h2_session *session, const char *opaque, bool is_ack);
void h2_send_goaway(struct h2_session *session, int32_t last_id, enum h2_error code);
void h2_send_reset(struct h2_session *session, int32_t stream_id, enum h2_error code);
void h2_send_window_update(struct h2_session *session, int32_t stream_id, uint32_t increment);
void h2_send_request(struct h2_session *session, struct h2_stream *stream);
void h2_send_response(struct h2_session *session, struct h2_stream *stream, const struct head *head,
                      bool end);
void h2_send_interim(struct h2_session *session, struct h2_stream *stream, const struct head *head);
/* False: none of the fields may be sent, nothing was framed. */
bool h2_send_trailers(struct h2_session *session, struct h2_stream *stream,
                      const struct fields *fields);

/* h2_output.c */
void h2_session_schedule(struct h2_session *session); /* flush at the end of this turn */
void h2_session_writable(struct h2_session *session);
void h2_output_init(struct h2_session *session);

/* h2_stream.c */
extern const struct exchange_ops h2_stream_ops;
/* Client: keeps `head` for the flush: a request that is cancelled before it never starts. */
void h2_stream_keep_request(struct h2_stream *stream, const struct head *head);
void h2_stream_forget_request(struct h2_stream *stream); /* idempotent */
struct h2_stream *h2_stream_create(struct h2_session *session, int32_t id);
struct h2_stream *h2_stream_find(const struct h2_session *session, int32_t id); /* NULL: closed */
void h2_stream_ready(struct h2_stream *stream); /* the flush shall look at it */
/* On the wire; the stream may be gone afterwards. */
void h2_stream_closed(struct h2_stream *stream, enum h2_error code);
void h2_stream_orphan(struct h2_stream *stream); /* the session is finished */
void h2_stream_reset(struct h2_stream *stream, enum h2_error code, enum exchange_reset reason);
/* A stream error of the peer (§5.4.2): its owner is told when the RST_STREAM leaves. */
void h2_stream_error(struct h2_stream *stream, enum h2_error code);
void h2_stream_ended(struct h2_stream *stream); /* our END_STREAM is framed */
/* The response is out and its owner has gone, yet the client still sends: it is told to stop (RST_STREAM with NO_ERROR,
 * RFC 9113 §8.1), but only a moment later, since clients lose an answer that a reset overtakes (curl 7.88) and small uploads end by
 * themselves. What comes meanwhile is dropped, and no window reopened for it. */
void h2_stream_answered(struct h2_stream *stream);
void h2_stream_stop_uploads(struct h2_session *session);

/* h2_headers.c: a whole header block becomes a head. */
void h2_headers_received(struct h2_session *session, int32_t stream_id, uint8_t flags,
                         struct slice block);
enum status h2_request_check(const struct h2_stream *stream, bool allow_connect,
                             bool allow_websocket);
