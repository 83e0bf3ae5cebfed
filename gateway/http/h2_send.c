/* http/h2_send.c — heads, trailers and control frames into the output, in the order of the calls, since
 * HPACK's tables live by that order. Hop-by-hop fields are left out here. */
#include "http/h2_session.h"

enum {
    SWITCHING_PROTOCOLS = 101,
    OUTPUT_FIRST_BYTES = 2048, /* what a turn of a few calls takes */
};

/* ---- control frames ---- */

/* Returns where the payload goes. */
static char *append_frame(struct h2_session *session, struct h2_frame_head head)
{
    size_t size_bytes = H2_FRAME_HEAD_BYTES + head.length;
    char *at = buf_reserve(&session->output, size_bytes);

    h2_frame_head_write(at, head);
    buf_commit(&session->output, size_bytes);
    session->queued_frames++;
    return at + H2_FRAME_HEAD_BYTES;
}

static void append_control(struct h2_session *session, enum h2_frame_type type, uint8_t flags,
                           int32_t stream_id, struct slice payload)
{
    char *at = append_frame(session, (struct h2_frame_head){ .length = (uint32_t)payload.len,
                                                             .type = (uint8_t)type,
                                                             .flags = flags,
                                                             .stream = stream_id });

    if (payload.len > 0)
        memcpy(at, payload.ptr, payload.len);
}

void h2_send_settings(struct h2_session *session, const struct h2_setting *settings, size_t count)
{
    char *at =
        append_frame(session, (struct h2_frame_head){ .length = (uint32_t)count * H2_SETTING_BYTES,
                                                      .type = H2_SETTINGS });

    for (size_t i = 0; i < count; i++, at += H2_SETTING_BYTES) {
        at[0] = (char)(settings[i].id >> 8);
        at[1] = (char)settings[i].id;
        h2_write_u32(at + 2, settings[i].value);
    }
    session->settings_unanswered++;
}

void h2_send_settings_ack(struct h2_session *session)
{
    append_control(session, H2_SETTINGS, H2_FLAG_ACK, 0, SLICE_EMPTY);
    session->queued_acks++;
}

void h2_send_ping(struct h2_session *session, const char *opaque, bool is_ack)
{
    append_control(session, H2_PING, is_ack ? H2_FLAG_ACK : 0, 0, slice_of(opaque, H2_PING_BYTES));
    session->queued_acks += is_ack;
}

void h2_send_goaway(struct h2_session *session, int32_t last_id, enum h2_error code)
{
    char payload[H2_GOAWAY_BYTES];

    h2_write_u32(payload, (uint32_t)last_id);
    h2_write_u32(payload + 4, code);
    append_control(session, H2_GOAWAY, 0, 0, slice_of(payload, sizeof(payload)));
}

static void append_number(struct h2_session *session, enum h2_frame_type type, int32_t stream_id,
                          uint32_t number)
{
    char payload[H2_CODE_BYTES];

    h2_write_u32(payload, number);
    append_control(session, type, 0, stream_id, slice_of(payload, sizeof(payload)));
}

void h2_send_reset(struct h2_session *session, int32_t stream_id, enum h2_error code)
{
    append_number(session, H2_RST_STREAM, stream_id, code);
}

void h2_send_window_update(struct h2_session *session, int32_t stream_id, uint32_t increment)
{
    append_number(session, H2_WINDOW_UPDATE, stream_id, increment);
}

/* ---- header blocks ---- */

/* Returns where in the output the block's first frame is. */
static size_t block_begin(struct h2_session *session)
{
    struct buf *output = &session->output;
    size_t at = output->len;

    if (output->memory == NULL)
        buf_reserve(output, OUTPUT_FIRST_BYTES);
    char *start = buf_reserve(output, H2_FRAME_HEAD_BYTES + HPACK_BEGIN_ROOM);
    char *end = hpack_begin(&session->encoder, start + H2_FRAME_HEAD_BYTES);
    buf_commit(output, (size_t)(end - start));
    return at;
}

static void block_add(struct h2_session *session, unsigned id, struct slice name,
                      struct slice value, enum hpack_policy policy)
{
    struct buf *output = &session->output;
    char *start = buf_reserve(output, hpack_room(name, value));

    buf_commit(output,
               (size_t)(hpack_encode(&session->encoder, start, id, name, value, policy) - start));
}

static void write_block_head(struct h2_session *session, size_t at, size_t length, bool is_first,
                             bool is_last, struct h2_frame_head head)
{
    head.length = (uint32_t)length;
    head.type = is_first ? H2_HEADERS : H2_CONTINUATION;
    head.flags = (uint8_t)((is_first ? head.flags : 0) | (is_last ? H2_FLAG_END_HEADERS : 0));
    h2_frame_head_write(session->output.memory + session->output.start + at, head);
}

/* Cuts what is larger than a frame, from its end on: each piece moves by the heads before it. */
static void split_block(struct h2_session *session, size_t at, size_t length,
                        struct h2_frame_head head)
{
    struct buf *output = &session->output;
    size_t count = (length + H2_FRAME_DATA_BYTES - 1) / H2_FRAME_DATA_BYTES;
    size_t extra_bytes = (count - 1) * H2_FRAME_HEAD_BYTES;

    buf_reserve(output, extra_bytes);
    buf_commit(output, extra_bytes);
    char *block = output->memory + output->start + at + H2_FRAME_HEAD_BYTES;
    for (size_t i = count; i-- > 0;) {
        size_t from = i * H2_FRAME_DATA_BYTES;
        size_t piece = length - from < H2_FRAME_DATA_BYTES ? length - from : H2_FRAME_DATA_BYTES;

        memmove(block + from + i * H2_FRAME_HEAD_BYTES, block + from, piece);
        write_block_head(session, at + from + i * H2_FRAME_HEAD_BYTES, piece, i == 0,
                         i + 1 == count, head);
    }
}

static void block_end(struct h2_session *session, size_t at, int32_t stream_id, bool end_stream)
{
    size_t length = session->output.len - at - H2_FRAME_HEAD_BYTES;
    struct h2_frame_head head = { .flags = end_stream ? H2_FLAG_END_STREAM : 0,
                                  .stream = stream_id };

    session->flood.payload_bytes += length;
    if (length <= H2_FRAME_DATA_BYTES)
        write_block_head(session, at, length, true, true, head);
    else
        split_block(session, at, length, head);
}

/* ---- fields ---- */

static enum hpack_policy policy_of(enum field_id id)
{
    switch (id) {
    case FIELD_AUTHORIZATION:
    case FIELD_COOKIE:
    case FIELD_SET_COOKIE:
    case FIELD_X_ACCESS_TOKEN:
        return HPACK_NEVER_INDEXED;
    case FIELD_X_REQUEST_ID:
    case FIELD_TRACEPARENT:
    case FIELD_TRACESTATE:
    case FIELD_CONTENT_LENGTH:
    case FIELD_LOCATION:
    case FIELD_REFERER:
        return HPACK_LITERAL;
    default:
        return HPACK_INDEX;
    }
}

static bool is_dropped(const struct field *field)
{
    if (field->id == FIELD_TE) /* the one value that HTTP/2 knows, and gRPC asks for */
        return !slice_equal_nocase(field->value, SLICE("trailers"));
    return field->id == FIELD_HOST || field_is_hop_by_hop(field->id);
}

/* Extended CONNECT has no 101 and no handshake of its own (RFC 8441 §5): the upgrade's answer
 * becomes 200. */
static bool is_dropped_from_tunnel(const struct field *field)
{
    return field->id == FIELD_SEC_WEBSOCKET_ACCEPT || field->id == FIELD_CONTENT_LENGTH;
}

static void add_field(struct h2_session *session, const struct field *field)
{
    block_add(session, field->id, field->name, field->value, policy_of(field->id));
}

/* ---- messages ---- */

void h2_send_request(struct h2_session *session, struct h2_stream *stream)
{
    const struct head *head = stream->pending;
    bool is_connect = slice_equal(head->method, SLICE("CONNECT"));
    bool is_tunnel = is_connect && head->protocol.len == 0;
    size_t at = block_begin(session);

    stream->head_offset = session->written_total + at;
    block_add(session, HPACK_METHOD, SLICE(":method"), head->method, HPACK_INDEX);
    if (is_connect && !is_tunnel) /* RFC 8441: the load tester's WebSockets */
        block_add(session, HPACK_PROTOCOL, SLICE(":protocol"), head->protocol, HPACK_INDEX);
    if (!is_tunnel) {
        block_add(session, HPACK_SCHEME, SLICE(":scheme"), head->scheme, HPACK_INDEX);
        block_add(session, HPACK_PATH, SLICE(":path"), head->target, HPACK_LITERAL);
    }
    block_add(session, HPACK_AUTHORITY, SLICE(":authority"), head->authority, HPACK_INDEX);
    for (size_t i = 0; i < head->fields.count; i++)
        if (!is_dropped(&head->fields.items[i]))
            add_field(session, &head->fields.items[i]);
    block_end(session, at, stream->id, !stream->has_source);
}

static void send_head(struct h2_session *session, const struct h2_stream *stream,
                      const struct head *head, bool can_tunnel, bool end)
{
    unsigned status = can_tunnel && head->status == SWITCHING_PROTOCOLS ? 200 : head->status;
    bool is_tunnel = can_tunnel && status / 100 == 2;
    char text[3] = { (char)('0' + status / 100), (char)('0' + status / 10 % 10),
                     (char)('0' + status % 10) };

    ENSURE(status >= 100 && status <= 999);
    size_t at = block_begin(session);
    block_add(session, HPACK_STATUS, SLICE(":status"), slice_of(text, sizeof(text)), HPACK_INDEX);
    for (size_t i = 0; i < head->fields.count; i++) {
        const struct field *field = &head->fields.items[i];

        if (!is_dropped(field) && !(is_tunnel && is_dropped_from_tunnel(field)))
            add_field(session, field);
    }
    block_end(session, at, stream->id, end);
}

void h2_send_response(struct h2_session *session, struct h2_stream *stream, const struct head *head,
                      bool end)
{
    send_head(session, stream, head, stream->base.can_tunnel, end);
}

void h2_send_interim(struct h2_session *session, struct h2_stream *stream, const struct head *head)
{
    send_head(session, stream, head, false, false);
}

bool h2_send_trailers(struct h2_session *session, struct h2_stream *stream,
                      const struct fields *fields)
{
    size_t at = 0;
    bool has_begun = false;

    for (size_t i = 0; i < fields->count; i++) {
        const struct field *field = &fields->items[i];

        if (is_dropped(field) || field->id == FIELD_CONTENT_LENGTH)
            continue;
        if (!has_begun)
            at = block_begin(session);
        has_begun = true;
        add_field(session, field);
    }
    if (has_begun)
        block_end(session, at, stream->id, true);
    return has_begun;
}
