/* http/h2_output.c — the flush: at the end of a turn, what streams have to say goes behind the heads and
 * control frames that are in the output already, and all of it into one write. DATA is framed only
 * while the transport takes it: otherwise bytes stay in their streams, where backpressure sees them.
 * Streams take turns, a frame each. */
#include "http/h2_session.h"

enum {
    GATHER_BYTES = 64 * 1024,
    WORTH_BYTES = 1024,    /* less room than that is not worth a frame */
    PROGRESS_BYTES = 1024, /* less within limits.write_stall is no progress */
    WRITES_PER_TURN = 8,
};

static size_t gather_limit(const struct h2_session *session)
{
    size_t limit = session->limits->backlog_bytes;

    return limit < GATHER_BYTES ? limit : GATHER_BYTES;
}

/* ---- one stream ---- */

/* Is the output full? Heads and control frames may lie behind the limit. */
static bool is_full(const struct h2_session *session)
{
    return session->output.len + H2_FRAME_HEAD_BYTES + WORTH_BYTES > gather_limit(session);
}

/* How much of `out` may go in one frame now; 0: nothing may, or nothing is there. */
static size_t sendable(const struct h2_session *session, const struct h2_stream *stream)
{
    size_t count = stream->base.out.len;
    size_t room = gather_limit(session) - session->output.len - H2_FRAME_HEAD_BYTES;
    int32_t window =
        stream->send_window < session->send_window ? stream->send_window : session->send_window;

    if (window <= 0)
        return 0;
    if (count > (size_t)window)
        count = (size_t)window;
    if (count > room) /* the caller knows that it is not full */
        count = room;
    return count < H2_FRAME_DATA_BYTES ? count : H2_FRAME_DATA_BYTES;
}

static void append_data(struct h2_session *session, struct h2_stream *stream, size_t count,
                        bool end)
{
    size_t size_bytes = H2_FRAME_HEAD_BYTES + count;
    size_t rest_bytes = gather_limit(session) - session->output.len;
    bool is_bulk = count > WORTH_BYTES; /* more will follow: no growing step by step */
    char *at = buf_reserve(&session->output, is_bulk ? rest_bytes : size_bytes);

    h2_frame_head_write(at, (struct h2_frame_head){ .length = (uint32_t)count,
                                                    .type = H2_DATA,
                                                    .flags = end ? H2_FLAG_END_STREAM : 0,
                                                    .stream = stream->id });
    if (count > 0)
        memcpy(at + H2_FRAME_HEAD_BYTES, buf_slice(&stream->base.out).ptr, count);
    buf_commit(&session->output, size_bytes);
    stream->send_window -= (int32_t)count;
    session->send_window -= (int32_t)count;
    session->flood.data_sent++;
    session->flood.payload_bytes += count;
}

/* A peer that opens its window byte by byte keeps what waits for it as one that keeps it shut. */
static void note_progress(struct h2_session *session, struct h2_stream *stream, size_t count)
{
    bool is_empty = stream->base.out.len == 0;

    stream->progress_bytes += (uint32_t)count;
    if (!is_empty && stream->stuck_since_ms != 0 && stream->progress_bytes < PROGRESS_BYTES)
        return;
    stream->stuck_since_ms = is_empty ? 0 : h2_now_ms(session);
    stream->progress_bytes = 0;
}

/* A frame of DATA, its end, its trailers. Its owner may do anything in on_drained. */
static void frame_body(struct h2_session *session, struct h2_stream *stream, size_t count)
{
    struct exchange *exchange = &stream->base;
    bool is_last = exchange->out_ended && count == exchange->out.len;
    bool has_trailers = is_last && exchange->out_trailers.count > 0;

    if (count > 0 || (is_last && !has_trailers))
        append_data(session, stream, count, is_last && !has_trailers);
    if (has_trailers && !h2_send_trailers(session, stream, &exchange->out_trailers))
        append_data(session, stream, 0, true);
    if (count > 0) {
        buf_consume(&exchange->out, count);
        note_progress(session, stream, count);
    }
    if (is_last)
        h2_stream_ended(stream);
    if (count > 0 && stream->has_owner)
        exchange->events->on_drained(exchange, count); /* last line */
}

static void frame_request(struct h2_session *session, struct h2_stream *stream)
{
    h2_send_request(session, stream);
    h2_stream_forget_request(stream);
    if (!stream->has_source)
        h2_stream_ended(stream);
}

/* False: the connection's window is used up, and nothing else was to do. */
static bool serve(struct h2_session *session, struct h2_stream *stream)
{
    struct exchange *exchange = &stream->base;

    list_unlink(&stream->ready);
    if (stream->is_resetting) {
        if (stream->pending == NULL) /* else the peer has never heard of it */
            h2_send_reset(session, stream->id, stream->reset_code);
        h2_stream_closed(stream, stream->reset_code);
        return true;
    }
    if (stream->pending != NULL)
        frame_request(session, stream);
    if (stream->end_framed) {
        if (stream->end_received)
            h2_stream_closed(stream, H2_NO_ERROR);
        return true;
    }
    if (!stream->has_source || exchange->is_dead)
        return true;
    if (is_full(session)) { /* of its own head */
        h2_stream_ready(stream);
        return true;
    }
    size_t count = sendable(session, stream);
    bool has_nothing = exchange->out.len == 0 && !exchange->out_ended;

    if (has_nothing || (count == 0 && exchange->out.len > 0)) {
        if (has_nothing || stream->send_window <= 0)
            return true; /* output_grew() or WINDOW_UPDATE goes on */
        list_append(&session->ready, &stream->ready);
        return false;
    }
    if (count < exchange->out.len || exchange->out_ended)
        list_append(&session->ready, &stream->ready);
    frame_body(session, stream, count);
    return true;
}

/* ---- flush ---- */

/* Until the output is full, or all streams have had their say. */
static void gather(struct h2_session *session)
{
    const struct list *first_blocked =
        NULL; /* by the connection's window; met again: all were seen */

    session->is_busy = true;
    while (!h2_session_is_over(session) && !is_full(session) && !list_is_empty(&session->ready)) {
        struct h2_stream *stream = LIST_FIRST(&session->ready, struct h2_stream, ready);

        if (&stream->ready == first_blocked)
            break;
        if (!serve(session, stream) && first_blocked == NULL)
            first_blocked = &stream->ready;
    }
    session->is_busy = false;
}

/* AGAIN: the transport took not all, and says when it takes more. */
static enum status write_output(struct h2_session *session)
{
    struct buf *output = &session->output;
    struct slice rest = buf_slice(output);
    size_t count = 0;
    enum status status = conn_write(session->conn, &rest, 1, &count);

    if (status != STATUS_OK && status != STATUS_AGAIN)
        return status;
    if (status == STATUS_OK && count > 0) {
        session->last_written_ms = h2_now_ms(session);
        session->written_total += count;
        buf_consume(output, count);
    } else if (!session->is_blocked) {
        session->last_written_ms = h2_now_ms(session);
    }
    session->is_blocked = output->len > 0;
    if (session->is_blocked) {
        conn_want_write(session->conn);
        return STATUS_AGAIN;
    }
    session->queued_frames = session->queued_acks = 0;
    return STATUS_OK;
}

static void flush_now(struct h2_session *session)
{
    if (session->want_finish)
        return;
    session->role->on_turn(session);
    for (unsigned writes = 0; !session->is_blocked; writes++) {
        if (writes == WRITES_PER_TURN) { /* the others of this worker first */
            task_defer_next(session->loop, &session->flush);
            return;
        }
        gather(session);
        if (session->is_finished || session->want_finish)
            return; /* destroyed by an owner meanwhile */
        if (session->output.len == 0)
            return;
        enum status status = write_output(session);
        if (status != STATUS_OK && status != STATUS_AGAIN) {
            h2_session_finish(session, STATUS_SYSTEM);
            return;
        }
    }
}

static void on_flush(struct task *task)
{
    struct h2_session *session = CONTAINER_OF(task, struct h2_session, flush);

    h2_session_enter(session);
    if (!session->is_finished && !session->is_blocked)
        flush_now(session);
    h2_session_leave(session);
}

void h2_output_init(struct h2_session *session)
{
    task_init(&session->flush, on_flush);
}

void h2_session_schedule(struct h2_session *session)
{
    if (!session->is_finished && !session->is_blocked)
        task_defer(session->loop, &session->flush);
}

void h2_session_writable(struct h2_session *session)
{
    h2_session_enter(session);
    if (!session->is_finished && session->is_blocked) {
        enum status status = write_output(session);

        if (status == STATUS_OK)
            h2_session_schedule(session);
        else if (status != STATUS_AGAIN)
            h2_session_finish(session, STATUS_SYSTEM);
    }
    h2_session_leave(session);
}
