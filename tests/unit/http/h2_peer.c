/* h2_peer.c — see h2_peer.h. */
#include "h2_peer.h"

#include "base/mem.h"

enum { FRAME_HEAD_BYTES = 9, HPACK_SHORT_MAX = 126 };

static void put_u32(char *into, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        into[i] = (char)(number >> (24 - 8 * i));
}

static uint32_t get_u32(const char *from)
{
    const uint8_t *bytes = (const uint8_t *)from;

    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void flush(struct h2_peer *peer)
{
    while (peer->out.len > 0 && peer->conn != NULL) {
        struct slice rest = buf_slice(&peer->out);
        size_t count = 0;
        enum status status = conn_write(peer->conn, &rest, 1, &count);

        if (status == STATUS_AGAIN) {
            conn_want_write(peer->conn);
            return;
        }
        if (status != STATUS_OK) {
            buf_deinit(&peer->out);
            return;
        }
        buf_consume(&peer->out, count);
    }
}

void h2_peer_raw(struct h2_peer *peer, struct slice bytes)
{
    buf_append(&peer->out, bytes);
    flush(peer);
}

void h2_peer_frame(struct h2_peer *peer, uint8_t type, uint8_t flags, int32_t stream,
                   struct slice payload)
{
    char head[FRAME_HEAD_BYTES];

    put_u32(head, (uint32_t)payload.len << 8 | type);
    head[4] = (char)flags;
    put_u32(head + 5, (uint32_t)stream);
    buf_append(&peer->out, slice_of(head, sizeof(head)));
    buf_append(&peer->out, payload);
    flush(peer);
}

static void decode(struct h2_peer *peer, struct peer_frame *frame)
{
    struct slice block = buf_slice(&frame->payload);

    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t taken = nghttp2_hd_inflate_hd2(peer->inflater, &nv, &flags,
                                               (const uint8_t *)block.ptr, block.len, 1);
        ENSURE(taken >= 0);
        block = slice_skip(block, (size_t)taken);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
            buf_printf(&frame->text, "%.*s: %.*s\n", (int)nv.namelen, (char *)nv.name,
                       (int)nv.valuelen, (char *)nv.value);
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0)
            break;
    }
    nghttp2_hd_inflate_end_headers(peer->inflater);
}

/* The first frame of either side must be SETTINGS proper. */
static void ack_settings(struct h2_peer *peer)
{
    if (!peer->owes_ack || !peer->has_greeted)
        return;
    peer->owes_ack = false;
    h2_peer_frame(peer, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, SLICE_EMPTY);
}

static void got(struct h2_peer *peer, struct peer_frame frame)
{
    if (peer->count == peer->capacity) {
        peer->capacity = peer->capacity > 0 ? peer->capacity * 2 : 64;
        peer->frames = mem_grow(peer->frames, peer->capacity * sizeof(*peer->frames));
    }
    if (frame.type == NGHTTP2_HEADERS) {
        ENSURE((frame.flags & NGHTTP2_FLAG_END_HEADERS) != 0);
        decode(peer, &frame);
    }
    peer->frames[peer->count++] = frame;
    if (frame.type == NGHTTP2_SETTINGS && (frame.flags & NGHTTP2_FLAG_ACK) == 0 &&
        peer->acks_settings) {
        peer->owes_ack = true;
        ack_settings(peer);
    }
    if (frame.type == NGHTTP2_PING && (frame.flags & NGHTTP2_FLAG_ACK) == 0 && peer->acks_pings)
        h2_peer_frame(peer, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, buf_slice(&frame.payload));
}

static void parse(struct h2_peer *peer)
{
    if (!peer->preface_seen) {
        if (peer->in.len < NGHTTP2_CLIENT_MAGIC_LEN)
            return;
        ENSURE(memcmp(buf_slice(&peer->in).ptr, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN) ==
               0);
        buf_consume(&peer->in, NGHTTP2_CLIENT_MAGIC_LEN);
        peer->preface_seen = true;
    }
    while (peer->in.len >= FRAME_HEAD_BYTES) {
        const char *head = buf_slice(&peer->in).ptr;
        size_t length = get_u32(head) >> 8;
        struct peer_frame frame = { .type = (uint8_t)head[3],
                                    .flags = (uint8_t)head[4],
                                    .stream = (int32_t)(get_u32(head + 5) & INT32_MAX) };

        if (peer->in.len < FRAME_HEAD_BYTES + length)
            return;
        buf_append(&frame.payload, slice_of(head + FRAME_HEAD_BYTES, length));
        buf_consume(&peer->in, FRAME_HEAD_BYTES + length);
        got(peer, frame);
    }
}

static void on_open(void *owner, enum status status)
{
    struct h2_peer *peer = owner;

    ENSURE(status == STATUS_OK);
    flush(peer);
}

static void on_readable(void *owner)
{
    static char bytes[65536];
    struct h2_peer *peer = owner;
    size_t count;

    while (!peer->is_deaf) {
        enum status status = conn_read(peer->conn, bytes, sizeof(bytes), &count);

        if (status == STATUS_AGAIN)
            return;
        if (status != STATUS_OK) {
            peer->is_closed = true;
            return;
        }
        buf_append(&peer->in, slice_of(bytes, count));
        parse(peer);
    }
}

static void on_writable(void *owner)
{
    flush(owner);
}

static const struct conn_events peer_events = {
    .on_open = on_open,
    .on_readable = on_readable,
    .on_writable = on_writable,
};

void h2_peer_init(struct h2_peer *peer, struct conn *conn, bool is_server)
{
    *peer = (struct h2_peer){ .conn = conn,
                              .is_server = is_server,
                              .preface_seen = !is_server,
                              .acks_settings = true,
                              .acks_pings = true };
    ENSURE(nghttp2_hd_inflate_new(&peer->inflater) == 0);
    conn_set_owner(conn, &peer_events, peer);
    conn_want_read(conn, true);
}

void h2_peer_deinit(struct h2_peer *peer)
{
    for (size_t i = 0; i < peer->count; i++) {
        buf_deinit(&peer->frames[i].payload);
        buf_deinit(&peer->frames[i].text);
    }
    mem_free(peer->frames);
    nghttp2_hd_inflate_del(peer->inflater);
    buf_deinit(&peer->in);
    buf_deinit(&peer->out);
    conn_destroy(&peer->conn);
}

void h2_peer_listen(struct h2_peer *peer, bool listens)
{
    peer->is_deaf = !listens;
    conn_want_read(peer->conn, listens);
}

void h2_peer_greet(struct h2_peer *peer, uint32_t max_streams)
{
    char entry[6] = { 0, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS };

    put_u32(entry + 2, max_streams);
    if (!peer->is_server)
        h2_peer_raw(peer, SLICE(NGHTTP2_CLIENT_MAGIC));
    h2_peer_frame(peer, NGHTTP2_SETTINGS, 0, 0,
                  max_streams > 0 ? slice_of(entry, sizeof(entry)) : SLICE_EMPTY);
    peer->has_greeted = true;
    ack_settings(peer);
}

static void put_text(struct buf *into, struct slice text)
{
    size_t rest = text.len;

    if (rest <= HPACK_SHORT_MAX) {
        buf_append_byte(into, (char)rest);
    } else {
        buf_append_byte(into, 0x7f);
        for (rest -= 0x7f; rest >= 0x80; rest >>= 7)
            buf_append_byte(into, (char)(rest | 0x80));
        buf_append_byte(into, (char)rest);
    }
    buf_append(into, text);
}

void h2_peer_encode(struct buf *into, struct slice name, struct slice value)
{
    buf_append_byte(into, 0);
    put_text(into, name);
    put_text(into, value);
}

void h2_peer_headers(struct h2_peer *peer, int32_t stream, uint8_t flags, const char *fields)
{
    struct slice rest = slice_from_string(fields);
    struct buf block = { 0 };

    while (rest.len > 0) {
        struct slice line = slice_cut(&rest, '\n');
        size_t colon = 1 + slice_find(slice_skip(line, 1), ':');

        h2_peer_encode(&block, slice_first(line, colon), slice_skip(line, colon + 2));
    }
    h2_peer_frame(peer, NGHTTP2_HEADERS, flags | NGHTTP2_FLAG_END_HEADERS, stream,
                  buf_slice(&block));
    buf_deinit(&block);
}

void h2_peer_data(struct h2_peer *peer, int32_t stream, uint8_t flags, struct slice bytes)
{
    do {
        struct slice part = slice_first(bytes, 16384);

        bytes = slice_skip(bytes, part.len);
        h2_peer_frame(peer, NGHTTP2_DATA, bytes.len == 0 ? flags : 0, stream, part);
    } while (bytes.len > 0);
}

void h2_peer_reset(struct h2_peer *peer, int32_t stream, uint32_t code)
{
    char payload[4];

    put_u32(payload, code);
    h2_peer_frame(peer, NGHTTP2_RST_STREAM, 0, stream, slice_of(payload, 4));
}

void h2_peer_window(struct h2_peer *peer, int32_t stream, uint32_t increment)
{
    char payload[4];

    put_u32(payload, increment);
    h2_peer_frame(peer, NGHTTP2_WINDOW_UPDATE, 0, stream, slice_of(payload, 4));
}

const struct peer_frame *h2_peer_find(const struct h2_peer *peer, uint8_t type, int32_t stream)
{
    for (size_t i = peer->count; i > 0; i--) {
        const struct peer_frame *frame = &peer->frames[i - 1];

        if (frame->type == type && (stream == -1 || frame->stream == stream))
            return frame;
    }
    return NULL;
}

size_t h2_peer_count(const struct h2_peer *peer, uint8_t type, int32_t stream)
{
    size_t count = 0;

    for (size_t i = 0; i < peer->count; i++)
        count += peer->frames[i].type == type && (stream == -1 || peer->frames[i].stream == stream);
    return count;
}

size_t h2_peer_data_bytes(const struct h2_peer *peer, int32_t stream)
{
    size_t bytes = 0;

    for (size_t i = 0; i < peer->count; i++)
        if (peer->frames[i].type == NGHTTP2_DATA && peer->frames[i].stream == stream)
            bytes += peer->frames[i].payload.len;
    return bytes;
}

bool h2_peer_ended(const struct h2_peer *peer, int32_t stream)
{
    for (size_t i = 0; i < peer->count; i++)
        if (peer->frames[i].stream == stream && peer->frames[i].type <= NGHTTP2_HEADERS &&
            (peer->frames[i].flags & NGHTTP2_FLAG_END_STREAM) != 0)
            return true;
    return false;
}

uint32_t h2_peer_u32(const struct peer_frame *frame, size_t offset)
{
    ENSURE(frame != NULL && frame->payload.len >= offset + 4);
    return get_u32(buf_slice(&frame->payload).ptr + offset);
}

int64_t h2_peer_error(const struct h2_peer *peer, int32_t stream)
{
    const struct peer_frame *frame =
        h2_peer_find(peer, stream == 0 ? NGHTTP2_GOAWAY : NGHTTP2_RST_STREAM, stream);

    return frame != NULL ? (int64_t)h2_peer_u32(frame, stream == 0 ? 4 : 0) : -1;
}

int64_t h2_peer_goaway_id(const struct h2_peer *peer)
{
    const struct peer_frame *frame = h2_peer_find(peer, NGHTTP2_GOAWAY, 0);

    return frame != NULL ? (int64_t)(h2_peer_u32(frame, 0) & INT32_MAX) : -1;
}
