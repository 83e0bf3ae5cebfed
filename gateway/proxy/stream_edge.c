/* proxy/stream_edge.c — see stream_edge.h. */
#include "proxy/stream_edge.h"

#include <string.h>

#include "connect/envelope.h"

void stream_edge_init(struct stream_edge *edge, uint8_t end_flags)
{
    *edge = (struct stream_edge){ .end_flags = end_flags };
}

void stream_edge_init_websocket(struct stream_edge *edge)
{
    *edge = (struct stream_edge){ .is_websocket = true };
}

static void message_passed(struct stream_edge *edge)
{
    edge->saw_end |= edge->is_last;
    edge->is_last = false;
}

static uint64_t big_endian(const uint8_t *bytes, unsigned count)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < count; i++)
        number = number << 8 | bytes[i];
    return number;
}

enum { OPCODE_CLOSE = 8, LENGTH_IN_2 = 126, LENGTH_IN_8 = 127, MASK_BYTES = 4 };

static unsigned length_bytes(const struct stream_edge *edge)
{
    unsigned length = edge->head[1] & 127u;

    return length == LENGTH_IN_8 ? 8 : length == LENGTH_IN_2 ? 2 : 0;
}

static unsigned head_bytes(const struct stream_edge *edge)
{
    if (!edge->is_websocket)
        return ENVELOPE_HEAD_BYTES;
    if (edge->head_len < 2)
        return 2;
    return 2 + length_bytes(edge) + ((edge->head[1] & 128u) != 0 ? MASK_BYTES : 0);
}

static void head_passed(struct stream_edge *edge)
{
    const uint8_t *head = edge->head;

    if (edge->is_websocket) {
        edge->left_bytes =
            length_bytes(edge) > 0 ? big_endian(head + 2, length_bytes(edge)) : head[1] & 127u;
        edge->is_last = (head[0] & 15u) == OPCODE_CLOSE;
    } else {
        edge->left_bytes = big_endian(head + 1, 4);
        edge->is_last = (head[0] & edge->end_flags) != 0;
        edge->is_compressed = (head[0] & ENVELOPE_COMPRESSED) != 0;
    }
    edge->head_len = 0;
    if (edge->left_bytes == 0)
        message_passed(edge);
}

void stream_edge_keep(struct stream_edge *edge, struct slice bytes)
{
    size_t room = sizeof(edge->last) - edge->last_len;
    size_t count = bytes.len < room ? bytes.len : room;

    if (count == 0)
        return;
    memcpy(edge->last + edge->last_len, bytes.ptr, count);
    edge->last_len = (uint8_t)(edge->last_len + count);
}

/* One step: a piece of a message or one byte of a head. */
static size_t pass_some(struct stream_edge *edge, struct slice bytes)
{
    if (edge->left_bytes > 0) {
        size_t count = bytes.len < edge->left_bytes ? bytes.len : (size_t)edge->left_bytes;
        if (edge->is_last && !edge->is_compressed && !edge->is_websocket)
            stream_edge_keep(edge, slice_first(bytes, count));
        edge->left_bytes -= count;
        if (edge->left_bytes == 0)
            message_passed(edge);
        return count;
    }
    edge->head[edge->head_len++] = (uint8_t)bytes.ptr[0];
    if (edge->head_len == head_bytes(edge))
        head_passed(edge);
    return 1;
}

void stream_edge_pass(struct stream_edge *edge, struct slice bytes)
{
    while (bytes.len > 0)
        bytes = slice_skip(bytes, pass_some(edge, bytes));
}

size_t stream_edge_pass_to_edge(struct stream_edge *edge, struct slice bytes)
{
    size_t count = 0;

    while (count < bytes.len) {
        count += pass_some(edge, slice_skip(bytes, count));
        if (stream_edge_is_at(edge))
            break;
    }
    return count;
}
