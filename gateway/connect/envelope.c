/* connect/envelope.c — see envelope.h. An envelope that arrives whole is handed on where it lies;
 * only what is cut by the end of a chunk is copied into `held`, and never more than its head
 * announces. */
#include "connect/envelope.h"

static void put_head(char head[ENVELOPE_HEAD_BYTES], uint8_t flags, size_t message_len)
{
    head[0] = (char)flags;
    for (unsigned i = 0; i < 4; i++)
        head[1 + i] = (char)(message_len >> (24 - 8 * i) & 0xff);
}

void envelope_append(struct buf *buf, uint8_t flags, struct slice message)
{
    char *room = buf_reserve(buf, ENVELOPE_HEAD_BYTES + message.len);

    ENSURE(message.len <= UINT32_MAX);
    put_head(room, flags, message.len);
    buf_commit(buf, ENVELOPE_HEAD_BYTES);
    buf_append(buf, message);
}

void envelope_append_end(struct buf *buf, const char *code_text, struct slice message,
                         struct slice details_json)
{
    size_t head_at = buf->len;

    buf_append(buf, slice_of((char[ENVELOPE_HEAD_BYTES]){ 0 }, ENVELOPE_HEAD_BYTES));
    if (code_text == NULL || strcmp(code_text, "ok") == 0) {
        buf_append(buf, SLICE("{}"));
    } else {
        buf_printf(buf, "{\"error\":{\"code\":\"%s\",\"message\":\"", code_text);
        buf_append_json_text(buf, message);
        buf_append_byte(buf, '"');
        if (details_json.len > 0) {
            buf_append(buf, SLICE(",\"details\":"));
            buf_append(buf, details_json);
        }
        buf_append(buf, SLICE("}}"));
    }
    put_head(buf->memory + buf->start + head_at, ENVELOPE_END_STREAM,
             buf->len - head_at - ENVELOPE_HEAD_BYTES);
}

void envelope_reader_init(struct envelope_reader *reader, size_t message_bytes)
{
    *reader = (struct envelope_reader){ .message_bytes = message_bytes };
}

void envelope_reader_deinit(struct envelope_reader *reader)
{
    buf_deinit(&reader->held);
}

bool envelope_reader_is_at_edge(const struct envelope_reader *reader)
{
    return reader->held.len == 0;
}

static size_t message_len_of(struct slice head)
{
    const unsigned char *bytes = (const unsigned char *)head.ptr;

    return (size_t)bytes[1] << 24 | (size_t)bytes[2] << 16 | (size_t)bytes[3] << 8 | bytes[4];
}

/* `bytes` starts with a whole head. */
static enum status check_head(const struct envelope_reader *reader, struct slice bytes)
{
    if (((uint8_t)bytes.ptr[0] & ~(ENVELOPE_COMPRESSED | ENVELOPE_END_STREAM)) != 0)
        return STATUS_MALFORMED;
    return message_len_of(bytes) > reader->message_bytes ? STATUS_BODY_TOO_LARGE : STATUS_OK;
}

/* `envelope` is whole and checked. */
static enum status deliver(struct envelope_reader *reader, struct slice envelope,
                           envelope_fn *on_message, void *arg)
{
    uint8_t flags = (uint8_t)envelope.ptr[0];

    if ((flags & ENVELOPE_END_STREAM) != 0)
        reader->ended = true;
    return on_message(arg, flags, slice_skip(envelope, ENVELOPE_HEAD_BYTES));
}

/* Moves bytes from `*bytes` to the held ones until those are `wanted` long. */
static bool hold_up_to(struct envelope_reader *reader, struct slice *bytes, size_t wanted)
{
    size_t missing = wanted > reader->held.len ? wanted - reader->held.len : 0;
    struct slice taken = slice_first(*bytes, missing);

    buf_append(&reader->held, taken);
    *bytes = slice_skip(*bytes, taken.len);
    return reader->held.len >= wanted;
}

/* Continues the held envelope, or starts to hold one. */
static enum status feed_held(struct envelope_reader *reader, struct slice *bytes,
                             envelope_fn *on_message, void *arg)
{
    if (!hold_up_to(reader, bytes, ENVELOPE_HEAD_BYTES))
        return STATUS_OK;
    enum status status = check_head(reader, buf_slice(&reader->held));
    if (status != STATUS_OK)
        return status;
    size_t whole = ENVELOPE_HEAD_BYTES + message_len_of(buf_slice(&reader->held));
    if (!hold_up_to(reader, bytes, whole))
        return STATUS_OK;
    status = deliver(reader, buf_slice(&reader->held), on_message, arg);
    buf_consume(&reader->held, whole);
    return status;
}

/* Delivers the whole envelopes at the start of `*bytes`. */
static enum status feed_whole(struct envelope_reader *reader, struct slice *bytes,
                              envelope_fn *on_message, void *arg)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK && !reader->ended && bytes->len >= ENVELOPE_HEAD_BYTES) {
        status = check_head(reader, *bytes);
        size_t whole = ENVELOPE_HEAD_BYTES + message_len_of(*bytes);
        if (status != STATUS_OK || bytes->len < whole)
            return status;
        status = deliver(reader, slice_first(*bytes, whole), on_message, arg);
        *bytes = slice_skip(*bytes, whole);
    }
    return status;
}

enum status envelope_reader_feed(struct envelope_reader *reader, struct slice bytes,
                                 envelope_fn *on_message, void *arg)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK && bytes.len > 0) {
        if (reader->ended)
            return STATUS_MALFORMED;
        if (reader->held.len == 0)
            status = feed_whole(reader, &bytes, on_message, arg);
        if (status == STATUS_OK && bytes.len > 0 && !reader->ended)
            status = feed_held(reader, &bytes, on_message, arg);
    }
    return status;
}
