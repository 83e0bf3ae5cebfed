/* http/h2_input.c — bytes from the conn into nghttp2, and what nghttp2 makes of them into events.
 * Floods are counted here, before anything else sees the frame. */
#include "http/h2_session.h"

enum {
    READ_SCRATCH_BYTES = 64 * 1024,
    READS_PER_WAKE = 4, /* then the others of this worker; readiness is level-triggered */
};

/* One per worker thread: bytes rest here within one call only. */
static _Thread_local char read_scratch[READ_SCRATCH_BYTES];

/* ---- conn ---- */

static void check_queue(struct h2_session *session)
{
    /* Each stream may rightly have a few frames of its own in the queue. */
    size_t allowed = session->limits->outbound_frames + 2 * session->stream_count;

    if (h2_flood_overhead(&session->flood, session->limits))
        h2_session_terminate(session, NGHTTP2_ENHANCE_YOUR_CALM, H2_FLOOD, "overhead");
    if (nghttp2_session_get_outbound_queue_size(session->ng) <= allowed)
        return;
    session->verdict = H2_FLOOD;
    session->verdict_reason = "outbound_queue";
    h2_session_finish(session, STATUS_LIMIT_REACHED);
}

static void feed(struct h2_session *session, struct slice bytes)
{
    session->last_heard_ms = h2_now_ms(session);
    session->ping_sent_ms = 0;
    session->flood.total_bytes += bytes.len;
    session->is_in_nghttp2 = true;
    ssize_t taken = nghttp2_session_mem_recv(session->ng, (const uint8_t *)bytes.ptr, bytes.len);
    session->is_in_nghttp2 = false;
    if (session->is_finished)
        return; /* destroyed by an owner meanwhile */
    if (taken < 0) {
        if (taken == NGHTTP2_ERR_FLOODED) {
            session->verdict = H2_FLOOD;
            session->verdict_reason = "acks_queued";
        }
        h2_session_finish(session, h2_session_failure(taken));
        return;
    }
    check_queue(session);
    h2_session_schedule(session);
}

void h2_session_feed(struct h2_session *session, struct slice bytes)
{
    h2_session_enter(session);
    if (!session->is_finished && bytes.len > 0)
        feed(session, bytes);
    h2_session_leave(session);
}

static void read_all(struct h2_session *session)
{
    for (unsigned reads = 0; reads < READS_PER_WAKE && !session->is_finished; reads++) {
        size_t count = 0;
        enum status status = conn_read(session->conn, read_scratch, READ_SCRATCH_BYTES, &count);

        if (status == STATUS_AGAIN)
            return;
        if (status != STATUS_OK) {
            h2_session_finish(session, status == STATUS_CLOSED ? STATUS_CLOSED : STATUS_SYSTEM);
            return;
        }
        feed(session, slice_of(read_scratch, count));
        if (session->want_finish || count < READ_SCRATCH_BYTES)
            return;
    }
}

void h2_session_readable(struct h2_session *session)
{
    h2_session_enter(session);
    read_all(session);
    h2_session_leave(session);
}

/* ---- frames ---- */

static int calm(struct h2_session *session, bool too_many, const char *reason)
{
    if (too_many)
        h2_session_terminate(session, NGHTTP2_ENHANCE_YOUR_CALM, H2_FLOOD, reason);
    return 0;
}

static void count_block(struct h2_session *session, const nghttp2_frame_hd *hd)
{
    if (hd->type == NGHTTP2_HEADERS) {
        session->block_bytes = 0;
        session->block_frames = 0;
    }
    session->block_bytes += hd->length;
    session->block_frames++;
    session->flood.payload_bytes += hd->length;
    calm(session,
         session->block_bytes > session->limits->header_block_bytes ||
             session->block_frames > session->limits->continuation_frames,
         "header_block");
}

/* A stream of the peer's broke the protocol and nghttp2 will reset it. Counted now: one read may hold
 * hundreds of such requests, and their RST_STREAMs leave at the end of the turn. */
static void count_glitch(struct h2_session *session, int32_t stream_id)
{
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(session->ng, stream_id);

    if (stream == NULL || stream->is_glitch || stream->base.is_dead)
        return;
    stream->is_glitch = true;
    h2_session_glitch(session);
}

/* nghttp2 says nothing when it drops DATA behind the promised end. Padding may hide some of it until
 * the reset leaves. */
static void check_promised_length(struct h2_session *session, const nghttp2_frame_hd *hd)
{
    const struct h2_stream *stream =
        nghttp2_session_get_stream_user_data(session->ng, hd->stream_id);

    if (stream == NULL || !session->role->is_server || (hd->flags & NGHTTP2_FLAG_PADDED) != 0 ||
        stream->base.request.content_length < 0)
        return;
    if (stream->body_bytes + hd->length > (uint64_t)stream->base.request.content_length)
        count_glitch(session, hd->stream_id);
}

static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *user)
{
    (void)ng;
    (void)error;
    if (frame->hd.stream_id != 0)
        count_glitch(user, frame->hd.stream_id);
    return 0;
}

static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *user)
{
    struct h2_session *session = user;
    struct h2_flood *flood = &session->flood;
    const struct http_limits *limits = session->limits;
    (void)ng;

    if (session->is_finished || session->want_finish)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    switch (hd->type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_CONTINUATION:
        count_block(session, hd);
        return 0;
    case NGHTTP2_DATA:
        check_promised_length(session, hd);
        return 0;
    case NGHTTP2_PRIORITY:
        return calm(session, h2_flood_priority(flood, limits), "priority");
    case NGHTTP2_WINDOW_UPDATE:
        return calm(session, h2_flood_window_update(flood, limits), "window_update");
    case NGHTTP2_PING:
        return calm(session,
                    (hd->flags & NGHTTP2_FLAG_ACK) == 0 &&
                        h2_flood_ping(flood, limits, h2_now_ms(session)),
                    "ping");
    case NGHTTP2_SETTINGS:
        return calm(session,
                    (hd->flags & NGHTTP2_FLAG_ACK) == 0 &&
                        h2_flood_settings(flood, limits, h2_now_ms(session)),
                    "settings");
    default:
        return 0;
    }
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_session *session = user;
    (void)ng;

    return session->is_finished ? NGHTTP2_ERR_CALLBACK_FAILURE : h2_headers_begin(session, frame);
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    (void)ng;
    (void)frame;
    (void)flags;
    return h2_headers_field(user, slice_of(name, name_len), slice_of(value, value_len));
}

/* Without this nghttp2's documentation promises to drop the field and deliver the rest. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                             size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                             void *user)
{
    (void)ng;
    (void)frame;
    (void)name;
    (void)name_len;
    (void)value;
    (void)value_len;
    (void)flags;
    (void)user;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the stream is reset */
}

static void data_received(struct h2_session *session, const nghttp2_frame *frame)
{
    static const struct fields none;
    bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    bool is_empty = frame->hd.length == frame->data.padlen;
    struct h2_stream *stream;

    calm(session, h2_flood_data(&session->flood, session->limits, is_empty && !ended),
         "empty_data");
    if (!ended)
        return;
    stream = nghttp2_session_get_stream_user_data(session->ng, frame->hd.stream_id);
    if (stream == NULL || stream->base.is_dead)
        return;
    stream->base.in_ended = true;
    if (stream->has_owner)
        stream->base.events->on_end(&stream->base, &none);
}

static void reset_received(struct h2_session *session, const nghttp2_frame *frame)
{
    struct h2_stream *stream =
        nghttp2_session_get_stream_user_data(session->ng, frame->hd.stream_id);

    if (stream != NULL)
        stream->peer_reset = true;
    if (session->role->is_server &&
        h2_flood_reset(&session->flood, session->limits, h2_now_ms(session)))
        h2_session_terminate(session, NGHTTP2_ENHANCE_YOUR_CALM, H2_RESETS, "resets");
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_session *session = user;
    (void)ng;

    if (session->is_finished)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        h2_headers_complete(session, frame);
        break;
    case NGHTTP2_DATA:
        data_received(session, frame);
        break;
    case NGHTTP2_RST_STREAM:
        reset_received(session, frame);
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
            h2_session_drain_step(session, frame->ping.opaque_data);
        break;
    case NGHTTP2_GOAWAY:
        session->role->on_goaway(session, frame->goaway.error_code);
        break;
    case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0)
            session->role->on_settings(session);
        break;
    default:
        break;
    }
    return session->is_finished ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_data_chunk(nghttp2_session *ng, uint8_t flags, int32_t stream_id,
                         const uint8_t *bytes, size_t count, void *user)
{
    struct h2_session *session = user;
    struct h2_stream *stream;
    (void)flags;

    if (session->is_finished)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    session->flood.payload_bytes += count;
    /* The connection's window reopens at once: a stream that is not read must not hold back the
     * others, and what they can make us hold is bounded by their own windows. */
    h2_session_check(session, nghttp2_session_consume_connection(ng, count));
    stream = nghttp2_session_get_stream_user_data(ng, stream_id);
    if (stream == NULL || stream->base.is_dead || !stream->has_owner) {
        if (stream == NULL || stream->stop_due_ms == 0)
            h2_session_check(session, nghttp2_session_consume_stream(ng, stream_id, count));
        return 0;
    }
    stream->body_bytes += count;
    stream->unconsumed_bytes += count;
    stream->base.events->on_body(&stream->base, slice_of(bytes, count));
    return session->is_finished ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t stream_id, uint32_t error_code, void *user)
{
    struct h2_session *session = user;
    struct h2_stream *stream;

    if (session->is_finished)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    stream = nghttp2_session_get_stream_user_data(ng, stream_id);
    if (stream == NULL)
        return 0;
    nghttp2_session_set_stream_user_data(ng, stream_id, NULL);
    h2_stream_closed(stream, error_code);
    return session->is_finished ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

void h2_input_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
}
