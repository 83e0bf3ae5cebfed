/* http/h2_input.c — bytes from the conn into frames. DATA goes on as it comes; other frames are small and
 * are used where they lie when they are whole, or put together first. */
#include "http/h2_session.h"

enum {
    READ_SCRATCH_BYTES = 64 * 1024,
    READS_PER_WAKE = 4, /* then the others of this worker; readiness is level-triggered */
    PREFACE_BYTES = sizeof(H2_PREFACE) - 1,
    ACKS_QUEUED_MAX = 100,
};

/* One per worker thread: bytes rest here within one call only. */
static _Thread_local char read_scratch[READ_SCRATCH_BYTES];

void h2_reader_deinit(struct h2_reader *reader)
{
    buf_deinit(&reader->partial);
    buf_deinit(&reader->block);
}

/* ---- what may come now (§4.1, §4.2, §3.4, §6.10) ---- */

static enum h2_error check_order(const struct h2_session *session, struct h2_frame_head frame)
{
    const struct h2_reader *reader = &session->reader;

    if (frame.length > H2_FRAME_DATA_BYTES)
        return H2_FRAME_SIZE_ERROR;
    if (!reader->has_settings && (frame.type != H2_SETTINGS || (frame.flags & H2_FLAG_ACK) != 0))
        return H2_PROTOCOL_ERROR;
    if (reader->block_stream != 0 &&
        (frame.type != H2_CONTINUATION || frame.stream != reader->block_stream))
        return H2_PROTOCOL_ERROR;
    if (reader->block_stream == 0 && frame.type == H2_CONTINUATION)
        return H2_PROTOCOL_ERROR;
    return H2_NO_ERROR;
}

static void begin_data(struct h2_session *session)
{
    struct h2_reader *reader = &session->reader;

    h2_data_begins(session, reader->frame);
    reader->in_data = true;
    reader->has_data = false;
    reader->left_bytes = reader->frame.length;
    reader->padding = 0;
    reader->wants_pad_length = (reader->frame.flags & H2_FLAG_PADDED) != 0;
    if (reader->wants_pad_length && reader->left_bytes == 0)
        h2_session_error(session, H2_FRAME_SIZE_ERROR);
}

static void begin_frame(struct h2_session *session, const char *head)
{
    struct h2_reader *reader = &session->reader;
    enum h2_error error;

    reader->head_bytes = H2_FRAME_HEAD_BYTES;
    reader->frame = h2_frame_head_read(head);
    error = check_order(session, reader->frame);
    if (error != H2_NO_ERROR) {
        h2_session_error(session, error);
        return;
    }
    reader->has_settings = true;
    h2_frame_begins(session, reader->frame);
    if (!h2_session_is_over(session) && reader->frame.type == H2_DATA)
        begin_data(session);
    reader->is_ignored = reader->frame.type > H2_CONTINUATION;
    if (reader->is_ignored)
        reader->left_bytes = reader->frame.length;
}

/* ---- taking bytes; each returns what is left ---- */

static struct slice take_preface(struct h2_session *session, struct slice bytes)
{
    struct h2_reader *reader = &session->reader;
    size_t wanted = PREFACE_BYTES - reader->preface_bytes;
    struct slice piece = slice_first(bytes, wanted);

    if (memcmp(piece.ptr, &H2_PREFACE[reader->preface_bytes], piece.len) != 0) {
        h2_session_finish(session, STATUS_MALFORMED); /* it speaks something else: no GOAWAY */
        return SLICE_EMPTY;
    }
    reader->preface_bytes = (uint8_t)(reader->preface_bytes + piece.len);
    return slice_skip(bytes, piece.len);
}

static struct slice take_head(struct h2_session *session, struct slice bytes)
{
    struct h2_reader *reader = &session->reader;

    if (reader->head_bytes == 0 && bytes.len >= H2_FRAME_HEAD_BYTES) {
        begin_frame(session, bytes.ptr);
        return slice_skip(bytes, H2_FRAME_HEAD_BYTES);
    }
    struct slice piece = slice_first(bytes, (size_t)(H2_FRAME_HEAD_BYTES - reader->head_bytes));
    memcpy(reader->head + reader->head_bytes, piece.ptr, piece.len);
    reader->head_bytes = (uint8_t)(reader->head_bytes + piece.len);
    if (reader->head_bytes == H2_FRAME_HEAD_BYTES)
        begin_frame(session, reader->head);
    return slice_skip(bytes, piece.len);
}

static struct slice take_pad_length(struct h2_session *session, struct slice bytes)
{
    struct h2_reader *reader = &session->reader;

    reader->wants_pad_length = false;
    reader->padding = (unsigned char)bytes.ptr[0];
    reader->left_bytes--;
    if (reader->padding > reader->left_bytes)
        h2_session_error(session, H2_PROTOCOL_ERROR);
    else
        h2_data_dropped(session, reader->frame.stream, 1);
    return slice_skip(bytes, 1);
}

static struct slice take_data(struct h2_session *session, struct slice bytes)
{
    struct h2_reader *reader = &session->reader;
    struct h2_frame_head frame = reader->frame;
    bool is_padding = reader->left_bytes <= reader->padding;
    size_t wanted = is_padding ? reader->left_bytes : reader->left_bytes - reader->padding;
    struct slice piece = slice_first(bytes, wanted);

    if (reader->wants_pad_length && bytes.len > 0)
        return take_pad_length(session, bytes);
    reader->left_bytes -= piece.len;
    if (is_padding)
        reader->padding -= (uint32_t)piece.len;
    if (piece.len > 0 && is_padding) {
        h2_data_dropped(session, frame.stream, piece.len);
    } else if (piece.len > 0) {
        reader->has_data = true;
        h2_data_received(session, frame.stream, piece);
    }
    if (!h2_session_is_over(session) && reader->left_bytes == 0) {
        reader->in_data = false;
        reader->head_bytes = 0;
        h2_data_ended(session, frame, !reader->has_data);
    }
    return slice_skip(bytes, piece.len);
}

static struct slice take_ignored(struct h2_session *session, struct slice bytes)
{
    struct h2_reader *reader = &session->reader;
    struct slice piece = slice_first(bytes, reader->left_bytes);

    reader->left_bytes -= piece.len;
    if (reader->left_bytes == 0)
        reader->head_bytes = 0;
    return slice_skip(bytes, piece.len);
}

static struct slice take_payload(struct h2_session *session, struct slice bytes)
{
    struct h2_reader *reader = &session->reader;
    struct buf *partial = &reader->partial;
    struct slice piece = slice_first(bytes, reader->frame.length - partial->len);

    if (partial->len == 0 && piece.len == reader->frame.length) {
        reader->head_bytes = 0;
        h2_frame_received(session, reader->frame, piece);
        return slice_skip(bytes, piece.len);
    }
    buf_append(partial, piece);
    if (partial->len == reader->frame.length) {
        struct buf whole = *partial;

        *partial = (struct buf){ 0 };
        reader->head_bytes = 0;
        h2_frame_received(session, reader->frame, buf_slice(&whole));
        buf_deinit(&whole);
    }
    return slice_skip(bytes, piece.len);
}

/* Is there a step that needs no further byte? */
static bool is_complete(const struct h2_reader *reader)
{
    if (reader->head_bytes < H2_FRAME_HEAD_BYTES)
        return false;
    if (reader->in_data || reader->is_ignored)
        return reader->left_bytes == 0;
    return reader->frame.length == reader->partial.len;
}

static void take_all(struct h2_session *session, struct slice bytes)
{
    struct h2_reader *reader = &session->reader;

    while (!h2_session_is_over(session) && (bytes.len > 0 || is_complete(reader))) {
        if (session->role->is_server && reader->preface_bytes < PREFACE_BYTES)
            bytes = take_preface(session, bytes);
        else if (reader->head_bytes < H2_FRAME_HEAD_BYTES)
            bytes = take_head(session, bytes);
        else if (reader->in_data)
            bytes = take_data(session, bytes);
        else if (reader->is_ignored)
            bytes = take_ignored(session, bytes);
        else
            bytes = take_payload(session, bytes);
    }
}

/* ---- conn ---- */

static void end_for_flood(struct h2_session *session, const char *reason)
{
    session->verdict = H2_FLOOD;
    session->verdict_reason = reason;
    h2_session_finish(session, STATUS_LIMIT_REACHED);
}

static void check_queue(struct h2_session *session)
{
    /* Each stream may rightly have a few frames of its own in the queue. */
    size_t allowed = session->limits->outbound_frames + 2 * session->stream_count;

    if (h2_flood_overhead(&session->flood, session->limits))
        h2_session_terminate(session, H2_ENHANCE_YOUR_CALM, H2_FLOOD, "overhead");
    if (session->queued_acks > ACKS_QUEUED_MAX)
        end_for_flood(session, "acks_queued");
    else if (session->queued_frames > allowed)
        end_for_flood(session, "outbound_queue");
}

static void feed(struct h2_session *session, struct slice bytes)
{
    session->last_heard_ms = h2_now_ms(session);
    session->ping_sent_ms = 0;
    session->flood.total_bytes += bytes.len;
    session->is_busy = true;
    take_all(session, bytes);
    session->is_busy = false;
    if (session->is_finished)
        return; /* destroyed by an owner meanwhile */
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
