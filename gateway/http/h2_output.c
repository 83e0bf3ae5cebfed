/* http/h2_output.c — what a turn produced, framed into one buffer and written once. Output is
 * framed only while the transport takes it: while a backlog waits, bytes stay in their streams,
 * where backpressure sees them. */
#include "http/h2_session.h"

enum {
    GATHER_BYTES = 64 * 1024,
    WRITE_SCRATCH_BYTES =
        128 * 1024, /* room for one gathered write and the largest frame that may come on top */
    WRITES_PER_TURN = 8,
};

/* One per worker thread: bytes rest here within one call only. */
static _Thread_local char write_scratch[WRITE_SCRATCH_BYTES];

static size_t gather_limit(const struct h2_session *session)
{
    size_t limit = session->limits->backlog_bytes;

    return limit < GATHER_BYTES ? limit : GATHER_BYTES;
}

/* ---- DATA ---- */

static ssize_t source_read(nghttp2_session *ng, int32_t id, uint8_t *bytes, size_t length,
                           uint32_t *data_flags, nghttp2_data_source *source, void *user)
{
    struct h2_session *session = user;
    struct h2_stream *stream = source->ptr;
    struct exchange *exchange = &stream->base;
    (void)bytes;

    if (session->is_finished)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    size_t count = exchange->out.len < length ? exchange->out.len : length;
    if (count > H2_FRAME_DATA_BYTES)
        count = H2_FRAME_DATA_BYTES;
    if (count == 0 && !exchange->out_ended) {
        stream->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *data_flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (!exchange->out_ended || count < exchange->out.len)
        return (ssize_t)count;
    *data_flags |= NGHTTP2_DATA_FLAG_EOF;
    if (exchange->out_trailers.count > 0) {
        struct h2_nv_list list;
        int result = NGHTTP2_ERR_INVALID_ARGUMENT;

        h2_nv_trailers(&list, &exchange->arena, &exchange->out_trailers);
        if (list.count > 0)
            result = nghttp2_submit_trailer(ng, id, list.items, list.count);
        if (nghttp2_is_fatal(result))
            return NGHTTP2_ERR_CALLBACK_FAILURE; /* an end without its trailers would be a lie */
        if (result == 0)
            *data_flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
    return (ssize_t)count;
}

nghttp2_data_provider h2_stream_source(struct h2_stream *stream)
{
    return (nghttp2_data_provider){ .source.ptr = stream, .read_callback = source_read };
}

static int on_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *frame_head,
                        size_t length, nghttp2_data_source *source, void *user)
{
    struct h2_session *session = user;
    struct h2_stream *stream = source->ptr;
    (void)ng;
    (void)frame; /* we ask for no padding */

    if (session->is_finished)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (session->framing_bytes > 0 &&
        session->framing_bytes + H2_FRAME_HEAD_BYTES + length > gather_limit(session))
        return NGHTTP2_ERR_WOULDBLOCK; /* asked again after the write */
    if (stream->base.is_dead)          /* since source_read: the RST_STREAM goes out instead */
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    ENSURE(stream->base.out.len >= length);

    char *into = write_scratch + session->framing_bytes;
    memcpy(into, frame_head, H2_FRAME_HEAD_BYTES);
    session->framing_bytes += H2_FRAME_HEAD_BYTES + length;
    session->flood.data_sent++;
    session->flood.payload_bytes += length;
    if (length == 0)
        return 0;
    memcpy(into + H2_FRAME_HEAD_BYTES, buf_slice(&stream->base.out).ptr, length);
    buf_consume(&stream->base.out, length);
    stream->stuck_since_ms = stream->base.out.len > 0 ? h2_now_ms(session) : 0;
    if (stream->has_owner)
        stream->base.events->on_drained(&stream->base, length);
    return session->is_finished ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* ---- what left ---- */

static bool is_blamed_on_peer(uint32_t error_code)
{
    return error_code == NGHTTP2_PROTOCOL_ERROR || error_code == NGHTTP2_FLOW_CONTROL_ERROR ||
           error_code == NGHTTP2_STREAM_CLOSED || error_code == NGHTTP2_FRAME_SIZE_ERROR;
}

static void stream_frame_sent(struct h2_session *session, struct h2_stream *stream,
                              const nghttp2_frame *frame)
{
    if (frame->hd.type == NGHTTP2_HEADERS && !stream->head_framed) {
        stream->head_framed = true;
        stream->head_offset = session->framed_total + session->framing_bytes;
    }
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return;
    stream->end_framed = true;
    if (session->role->is_server && stream->is_released && !stream->base.in_ended)
        h2_stream_answered(stream);
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_session *session = user;
    struct h2_stream *stream = NULL;

    if (session->is_finished)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (frame->hd.stream_id != 0)
        stream = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        session->flood.payload_bytes += frame->hd.length;
        /* fall through */
    case NGHTTP2_DATA:
        if (stream != NULL)
            stream_frame_sent(session, stream, frame);
        break;
    case NGHTTP2_RST_STREAM: /* one that the peer made us send is a glitch: MadeYouReset */
        if (is_blamed_on_peer(frame->rst_stream.error_code) &&
            (stream == NULL || (!stream->we_reset && !stream->is_glitch)))
            h2_session_glitch(session);
        break;
    case NGHTTP2_GOAWAY:
        if (frame->goaway.last_stream_id == INT32_MAX)
            h2_session_notice_sent(session);
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR && session->terminated_ms == 0)
            session->peer_violated = true;
        break;
    default:
        break;
    }
    return 0;
}

void h2_output_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
}

/* ---- flush ---- */

/* Frames into the scratch until it is full or nothing is left; negative: nghttp2 failed. */
static ssize_t gather(struct h2_session *session)
{
    const uint8_t *bytes;
    size_t limit = gather_limit(session);
    ssize_t count = 1;

    session->framing_bytes = 0;
    session->is_in_nghttp2 = true;
    while (count > 0 && session->framing_bytes < limit) {
        count = nghttp2_session_mem_send(session->ng, &bytes);
        if (count > 0) {
            ENSURE(session->framing_bytes + (size_t)count <= WRITE_SCRATCH_BYTES);
            memcpy(write_scratch + session->framing_bytes, bytes, (size_t)count);
            session->framing_bytes += (size_t)count;
        }
    }
    session->is_in_nghttp2 = false;
    session->framed_total += session->framing_bytes;
    return count;
}

/* Writes what was gathered; what the transport refuses goes to the backlog. */
static enum status write_gathered(struct h2_session *session)
{
    struct slice rest = slice_of(write_scratch, session->framing_bytes);
    size_t count = 0;
    enum status status = conn_write(session->conn, &rest, 1, &count);

    if (status != STATUS_OK && status != STATUS_AGAIN)
        return status;
    if (status == STATUS_OK) {
        session->written_total += count;
        rest = slice_skip(rest, count);
    }
    if (rest.len == 0)
        return STATUS_OK;
    buf_append(&session->backlog, rest);
    session->last_written_ms = h2_now_ms(session);
    conn_want_write(session->conn);
    return STATUS_AGAIN;
}

static void flush_now(struct h2_session *session)
{
    if (session->want_finish)
        return;
    session->role->on_turn(session);
    for (unsigned writes = 0; session->backlog.len == 0; writes++) {
        if (writes == WRITES_PER_TURN) { /* the others of this worker first */
            task_defer_next(session->loop, &session->flush);
            return;
        }
        ssize_t framed = gather(session);
        if (session->is_finished)
            return; /* destroyed by an owner meanwhile */
        if (framed < 0) {
            h2_session_finish(session, h2_session_failure(framed));
            return;
        }
        if (session->framing_bytes == 0)
            return;
        enum status status = write_gathered(session);
        if (status != STATUS_OK && status != STATUS_AGAIN) {
            h2_session_finish(session, STATUS_SYSTEM);
            return;
        }
        if (session->want_finish)
            return;
    }
}

static void on_flush(struct task *task)
{
    struct h2_session *session = CONTAINER_OF(task, struct h2_session, flush);

    h2_session_enter(session);
    if (!session->is_finished && session->backlog.len == 0)
        flush_now(session);
    h2_session_leave(session);
}

void h2_output_init(struct h2_session *session)
{
    task_init(&session->flush, on_flush);
}

void h2_session_schedule(struct h2_session *session)
{
    if (!session->is_finished && session->backlog.len == 0)
        task_defer(session->loop, &session->flush);
}

static void write_backlog(struct h2_session *session)
{
    while (session->backlog.len > 0) {
        struct slice rest = buf_slice(&session->backlog);
        size_t count = 0;
        enum status status = conn_write(session->conn, &rest, 1, &count);

        if (status == STATUS_AGAIN) {
            conn_want_write(session->conn);
            return;
        }
        if (status != STATUS_OK) {
            h2_session_finish(session, STATUS_SYSTEM);
            return;
        }
        session->last_written_ms = h2_now_ms(session);
        session->written_total += count;
        buf_consume(&session->backlog, count);
    }
    h2_session_schedule(session);
}

void h2_session_writable(struct h2_session *session)
{
    h2_session_enter(session);
    if (!session->is_finished)
        write_backlog(session);
    h2_session_leave(session);
}
