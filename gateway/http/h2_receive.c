/* http/h2_receive.c — what each frame of the peer means (RFC 9113 §6). Floods are counted when a frame
 * begins, before anything is done about it. An error ends the connection where the RFC lets us choose,
 * unless other streams could suffer from what one did. */
#include "http/h2_session.h"

enum { SETTINGS_MAX = 32 };

static bool is_idle(const struct h2_session *session, int32_t id)
{
    bool is_odd = (id & 1) != 0;

    if (session->role->is_server)
        return !is_odd || id > session->peer_last_id;
    return !is_odd || (session->next_id > 0 && id >= session->next_id);
}

/* ---- floods ---- */

static void calm(struct h2_session *session, bool too_many, const char *reason)
{
    if (too_many)
        h2_session_terminate(session, H2_ENHANCE_YOUR_CALM, H2_FLOOD, reason);
}

static void count_block(struct h2_session *session, struct h2_frame_head frame)
{
    struct h2_reader *reader = &session->reader;

    reader->block_frames = frame.type == H2_HEADERS ? 1 : reader->block_frames + 1;
    session->flood.payload_bytes += frame.length;
    calm(session,
         reader->block.len + frame.length > session->limits->header_block_bytes ||
             reader->block_frames > session->limits->continuation_frames,
         "header_block");
}

void h2_frame_begins(struct h2_session *session, struct h2_frame_head frame)
{
    struct h2_flood *flood = &session->flood;
    const struct http_limits *limits = session->limits;
    bool is_ack = (frame.flags & H2_FLAG_ACK) != 0;

    switch (frame.type) {
    case H2_HEADERS:
    case H2_CONTINUATION:
        count_block(session, frame);
        break;
    case H2_PRIORITY:
        calm(session, h2_flood_priority(flood, limits), "priority");
        break;
    case H2_WINDOW_UPDATE:
        calm(session, h2_flood_window_update(flood, limits), "window_update");
        break;
    case H2_PING:
        calm(session, !is_ack && h2_flood_ping(flood, limits, h2_now_ms(session)), "ping");
        break;
    case H2_SETTINGS:
        calm(session, !is_ack && h2_flood_settings(flood, limits, h2_now_ms(session)), "settings");
        break;
    default:
        break;
    }
}

/* ---- DATA (§6.1) and the windows that it comes through (§6.9) ---- */

/* The connection's window reopens at once: a stream that is not read must not hold back the others,
 * and what they can make us hold is bounded by their own windows. */
static void reopen_connection(struct h2_session *session, size_t size_bytes)
{
    session->consumed_bytes += (uint32_t)size_bytes;
    if (session->consumed_bytes < H2_CONNECTION_WINDOW_BYTES / 2)
        return;
    session->receive_window += (int32_t)session->consumed_bytes;
    h2_send_window_update(session, 0, session->consumed_bytes);
    session->consumed_bytes = 0;
}

void h2_stream_reopen(struct h2_stream *stream, size_t size_bytes)
{
    struct h2_session *session = stream->session;

    stream->consumed_bytes += (uint32_t)size_bytes;
    if (stream->consumed_bytes < session->stream_window / 2 || stream->end_received ||
        stream->is_resetting)
        return;
    stream->receive_window += (int32_t)stream->consumed_bytes;
    h2_send_window_update(session, stream->id, stream->consumed_bytes);
    stream->consumed_bytes = 0;
}

void h2_data_begins(struct h2_session *session, struct h2_frame_head frame)
{
    struct h2_stream *stream = h2_stream_find(session, frame.stream);
    int32_t length = (int32_t)frame.length;

    if (is_idle(session, frame.stream)) { /* stream 0 is one of them */
        h2_session_error(session, H2_PROTOCOL_ERROR);
        return;
    }
    if (length > session->receive_window) {
        h2_session_error(session, H2_FLOW_CONTROL_ERROR);
        return;
    }
    session->receive_window -= length;
    if (stream == NULL || stream->is_resetting)
        return; /* it may not know yet that we closed it */
    if (stream->end_received)
        h2_stream_error(stream, H2_STREAM_CLOSED); /* §5.1, half-closed (remote) */
    else if (!stream->head_received)
        h2_stream_error(stream, H2_PROTOCOL_ERROR); /* a response begins with its head */
    else if (length > stream->receive_window)
        h2_stream_error(stream, H2_FLOW_CONTROL_ERROR);
    stream->receive_window -= length;
}

static bool is_wanted(const struct h2_stream *stream)
{
    return stream != NULL && stream->has_owner && !stream->base.is_dead && !stream->is_resetting;
}

void h2_data_dropped(struct h2_session *session, int32_t stream_id, size_t size_bytes)
{
    struct h2_stream *stream = h2_stream_find(session, stream_id);

    reopen_connection(session, size_bytes);
    if (stream != NULL && stream->stop_due_ms == 0)
        h2_stream_reopen(stream, size_bytes);
}

/* §8.1.1: a body of another length than was promised is malformed. */
static bool is_too_long(const struct h2_stream *stream, size_t size_bytes)
{
    return stream->promised_bytes >= 0 &&
           stream->body_bytes + size_bytes > (uint64_t)stream->promised_bytes;
}

void h2_data_received(struct h2_session *session, int32_t stream_id, struct slice bytes)
{
    struct h2_stream *stream = h2_stream_find(session, stream_id);

    session->flood.payload_bytes += bytes.len;
    if (stream != NULL && !stream->is_resetting && is_too_long(stream, bytes.len))
        h2_stream_error(stream, H2_PROTOCOL_ERROR);
    if (!is_wanted(stream)) {
        if (stream != NULL)
            stream->body_bytes += bytes.len;
        h2_data_dropped(session, stream_id, bytes.len);
        return;
    }
    reopen_connection(session, bytes.len);
    stream->body_bytes += bytes.len;
    stream->unconsumed_bytes += bytes.len;
    stream->base.events->on_body(&stream->base, bytes); /* last line: its owner may do anything */
}

void h2_data_ended(struct h2_session *session, struct h2_frame_head frame, bool is_empty)
{
    static const struct fields none;
    bool ended = (frame.flags & H2_FLAG_END_STREAM) != 0;
    struct h2_stream *stream = h2_stream_find(session, frame.stream);

    calm(session, h2_flood_data(&session->flood, session->limits, is_empty && !ended),
         "empty_data");
    if (!ended || stream == NULL || stream->is_resetting)
        return;
    if (stream->promised_bytes >= 0 && stream->body_bytes != (uint64_t)stream->promised_bytes) {
        h2_stream_error(stream, H2_PROTOCOL_ERROR);
        return;
    }
    stream->end_received = true;
    if (stream->end_framed)
        h2_stream_ready(stream);
    if (stream->base.is_dead)
        return;
    stream->base.in_ended = true;
    if (stream->has_owner)
        stream->base.events->on_end(&stream->base, &none);
}

/* ---- HEADERS (§6.2), CONTINUATION (§6.10) ---- */

/* Takes padding and priority off; false: they are larger than the frame. */
static bool strip(struct h2_frame_head frame, struct slice *payload)
{
    size_t padding = 0;

    if ((frame.flags & H2_FLAG_PADDED) != 0) {
        if (payload->len < 1)
            return false;
        padding = (unsigned char)payload->ptr[0];
        *payload = slice_skip(*payload, 1);
    }
    if ((frame.flags & H2_FLAG_PRIORITY) != 0) {
        if (payload->len < H2_PRIORITY_BYTES)
            return false;
        *payload = slice_skip(*payload, H2_PRIORITY_BYTES);
    }
    if (padding > payload->len)
        return false;
    payload->len -= padding;
    return true;
}

static void headers_received(struct h2_session *session, struct h2_frame_head frame,
                             struct slice payload)
{
    struct h2_reader *reader = &session->reader;

    if (frame.stream == 0 || !strip(frame, &payload)) {
        h2_session_error(session, H2_PROTOCOL_ERROR);
        return;
    }
    if ((frame.flags & H2_FLAG_END_HEADERS) != 0) {
        h2_headers_received(session, frame.stream, frame.flags, payload);
        return;
    }
    reader->block_stream = frame.stream;
    reader->block_flags = frame.flags;
    buf_append(&reader->block, payload);
}

static void continuation_received(struct h2_session *session, struct h2_frame_head frame,
                                  struct slice payload)
{
    struct h2_reader *reader = &session->reader;
    struct buf block;

    buf_append(&reader->block, payload);
    if ((frame.flags & H2_FLAG_END_HEADERS) == 0)
        return;
    block = reader->block;
    reader->block = (struct buf){ 0 };
    reader->block_stream = 0;
    h2_headers_received(session, frame.stream, reader->block_flags, buf_slice(&block));
    buf_deinit(&block);
}

/* ---- RST_STREAM (§6.4) ---- */

static enum h2_error reset_received(struct h2_session *session, struct h2_frame_head frame,
                                    struct slice payload)
{
    struct h2_stream *stream = h2_stream_find(session, frame.stream);

    if (payload.len != H2_CODE_BYTES)
        return H2_FRAME_SIZE_ERROR;
    if (is_idle(session, frame.stream))
        return H2_PROTOCOL_ERROR;
    if (session->role->is_server &&
        h2_flood_reset(&session->flood, session->limits, h2_now_ms(session)))
        h2_session_terminate(session, H2_ENHANCE_YOUR_CALM, H2_RESETS, "resets");
    if (stream != NULL) {
        stream->peer_reset = true;
        h2_stream_closed(stream, (enum h2_error)h2_read_u32(payload.ptr));
    }
    return H2_NO_ERROR;
}

/* ---- SETTINGS (§6.5) ---- */

/* Moves by `change`; false: it would be larger than a window may be. */
static bool move_window(int32_t *window, int64_t change)
{
    int64_t moved = *window + change;

    if (moved > INT32_MAX)
        return false;
    *window = (int32_t)moved;
    return true;
}

/* §6.9.2: applies to the streams that are open, too. */
static enum h2_error set_peer_window(struct h2_session *session, uint32_t window_bytes)
{
    int64_t change = (int64_t)window_bytes - session->peer.window_bytes;

    if (window_bytes > INT32_MAX)
        return H2_FLOW_CONTROL_ERROR;
    session->peer.window_bytes = window_bytes;
    LIST_EACH(&session->streams, link)
    {
        struct h2_stream *stream = LIST_ITEM(link, struct h2_stream, link);

        if (stream->is_closed)
            continue;
        if (!move_window(&stream->send_window, change))
            return H2_FLOW_CONTROL_ERROR;
        h2_stream_ready(stream);
    }
    return H2_NO_ERROR;
}

static enum h2_error take_setting(struct h2_session *session, uint16_t id, uint32_t value)
{
    switch (id) {
    case H2_SETTING_HEADER_TABLE_SIZE:
        hpack_encoder_limit(&session->encoder, value);
        return H2_NO_ERROR;
    case H2_SETTING_ENABLE_PUSH: /* a server may only say 0 */
        return value > session->role->is_server ? H2_PROTOCOL_ERROR : H2_NO_ERROR;
    case H2_SETTING_MAX_CONCURRENT_STREAMS:
        session->peer.streams_max = value;
        return H2_NO_ERROR;
    case H2_SETTING_INITIAL_WINDOW_SIZE:
        return set_peer_window(session, value);
    case H2_SETTING_MAX_FRAME_SIZE: /* we never send larger ones than the smallest that it may say */
        return value < H2_FRAME_DATA_BYTES || value >= 1 << 24 ? H2_PROTOCOL_ERROR : H2_NO_ERROR;
    case H2_SETTING_ENABLE_CONNECT_PROTOCOL:
    case H2_SETTING_NO_RFC7540_PRIORITIES:
        return value > 1 ? H2_PROTOCOL_ERROR : H2_NO_ERROR;
    default:
        return H2_NO_ERROR;
    }
}

/* Our windows hold from now on for the streams that are open, too. */
static enum h2_error settings_acknowledged(struct h2_session *session, size_t payload_bytes)
{
    int64_t change = (int64_t)session->limits->window_bytes - session->stream_window;

    if (payload_bytes > 0)
        return H2_FRAME_SIZE_ERROR;
    if (session->settings_unanswered == 0)
        return H2_PROTOCOL_ERROR;
    session->settings_unanswered--;
    session->stream_window = (uint32_t)session->limits->window_bytes;
    if (change == 0)
        return H2_NO_ERROR;
    LIST_EACH(&session->streams, link)
    move_window(&LIST_ITEM(link, struct h2_stream, link)->receive_window, change);
    return H2_NO_ERROR;
}

static enum h2_error settings_received(struct h2_session *session, struct h2_frame_head frame,
                                       struct slice payload)
{
    if (frame.stream != 0)
        return H2_PROTOCOL_ERROR;
    if ((frame.flags & H2_FLAG_ACK) != 0)
        return settings_acknowledged(session, payload.len);
    if (payload.len % H2_SETTING_BYTES != 0)
        return H2_FRAME_SIZE_ERROR;
    if (payload.len / H2_SETTING_BYTES > SETTINGS_MAX)
        return H2_ENHANCE_YOUR_CALM;
    if (!session->peer_has_settings)
        session->peer.streams_max = UINT32_MAX; /* unless it says otherwise now */
    session->peer_has_settings = true;
    while (payload.len > 0) {
        uint16_t id = (uint16_t)(h2_read_u32(payload.ptr) >> 16);
        enum h2_error error = take_setting(session, id, h2_read_u32(payload.ptr + 2));

        if (error != H2_NO_ERROR)
            return error;
        payload = slice_skip(payload, H2_SETTING_BYTES);
    }
    h2_send_settings_ack(session);
    session->role->on_settings(session);
    return H2_NO_ERROR;
}

/* ---- PING (§6.7), GOAWAY (§6.8), WINDOW_UPDATE (§6.9), PRIORITY (§6.3) ---- */

static enum h2_error ping_received(struct h2_session *session, struct h2_frame_head frame,
                                   struct slice payload)
{
    if (frame.stream != 0)
        return H2_PROTOCOL_ERROR;
    if (payload.len != H2_PING_BYTES)
        return H2_FRAME_SIZE_ERROR;
    if ((frame.flags & H2_FLAG_ACK) != 0)
        h2_session_drain_step(session, payload.ptr);
    else
        h2_send_ping(session, payload.ptr, true);
    return H2_NO_ERROR;
}

/* The newest stream of ours above the id that the peer still serves. */
static struct h2_stream *find_above(const struct h2_session *session, int32_t last_id)
{
    for (struct list *link = session->streams.prev; link != &session->streams; link = link->prev) {
        struct h2_stream *stream = LIST_ITEM(link, struct h2_stream, link);

        if (stream->id <= last_id)
            return NULL; /* they are in the order of their ids */
        if (!stream->is_closed)
            return stream;
    }
    return NULL;
}

static enum h2_error goaway_received(struct h2_session *session, struct h2_frame_head frame,
                                     struct slice payload)
{
    int32_t last_id;
    struct h2_stream *stream;

    if (frame.stream != 0)
        return H2_PROTOCOL_ERROR;
    if (payload.len < H2_GOAWAY_BYTES)
        return H2_FRAME_SIZE_ERROR;
    last_id = h2_read_u31(payload.ptr);
    if (last_id > session->goaway_last_id)
        return H2_PROTOCOL_ERROR;
    session->goaway_received = true;
    session->goaway_last_id = last_id;
    session->role->on_goaway(session, h2_read_u32(payload.ptr + 4));
    if (session->role->is_server) { /* it may still open streams that waited in its own queue */
        h2_session_peer_leaves(session);
        return H2_NO_ERROR;
    }
    while (!session->is_finished && (stream = find_above(session, last_id)) != NULL)
        h2_stream_closed(stream, H2_REFUSED_STREAM); /* not processed (§6.8) */
    return H2_NO_ERROR;
}

static enum h2_error window_update_received(struct h2_session *session, struct h2_frame_head frame,
                                            struct slice payload)
{
    struct h2_stream *stream = h2_stream_find(session, frame.stream);
    int32_t increment;

    if (payload.len != H2_CODE_BYTES)
        return H2_FRAME_SIZE_ERROR;
    increment = h2_read_u31(payload.ptr);
    if (increment == 0)
        return H2_PROTOCOL_ERROR;
    if (frame.stream == 0)
        return move_window(&session->send_window, increment) ? H2_NO_ERROR : H2_FLOW_CONTROL_ERROR;
    if (is_idle(session, frame.stream))
        return H2_PROTOCOL_ERROR;
    if (stream == NULL || stream->is_resetting)
        return H2_NO_ERROR;
    if (!move_window(&stream->send_window, increment))
        h2_stream_error(stream, H2_FLOW_CONTROL_ERROR);
    else
        h2_stream_ready(stream);
    return H2_NO_ERROR;
}

/* Streams take turns, whatever the peer would like (RFC 9113 §5.3.2). */
static enum h2_error priority_received(struct h2_frame_head frame, struct slice payload)
{
    if (frame.stream == 0)
        return H2_PROTOCOL_ERROR;
    return payload.len == H2_PRIORITY_BYTES ? H2_NO_ERROR : H2_FRAME_SIZE_ERROR;
}

static enum h2_error receive(struct h2_session *session, struct h2_frame_head frame,
                             struct slice payload)
{
    switch (frame.type) {
    case H2_HEADERS:
        headers_received(session, frame, payload);
        return H2_NO_ERROR;
    case H2_CONTINUATION:
        continuation_received(session, frame, payload);
        return H2_NO_ERROR;
    case H2_PRIORITY:
        return priority_received(frame, payload);
    case H2_RST_STREAM:
        return reset_received(session, frame, payload);
    case H2_SETTINGS:
        return settings_received(session, frame, payload);
    case H2_PUSH_PROMISE: /* clients may not, and servers are told not to */
        return H2_PROTOCOL_ERROR;
    case H2_PING:
        return ping_received(session, frame, payload);
    case H2_GOAWAY:
        return goaway_received(session, frame, payload);
    case H2_WINDOW_UPDATE:
        return window_update_received(session, frame, payload);
    default:
        return H2_NO_ERROR; /* §5.5: unknown types are ignored */
    }
}

void h2_frame_received(struct h2_session *session, struct h2_frame_head frame, struct slice payload)
{
    enum h2_error error = receive(session, frame, payload);

    if (error != H2_NO_ERROR && !session->is_finished)
        h2_session_error(session, error);
}
