/* proxy/stream_edge.c — see stream_edge.h. */
#include "proxy/stream_edge.h"

#include "connect/envelope.h"

void stream_edge_init(struct stream_edge *edge, uint8_t end_flags)
{
    *edge = (struct stream_edge){ .end_flags = end_flags };
}

static void message_passed(struct stream_edge *edge)
{
    edge->saw_end |= edge->is_last;
    edge->is_last = false;
}

static void head_passed(struct stream_edge *edge)
{
    const uint8_t *head = edge->head;

    edge->left_bytes =
        (uint32_t)head[1] << 24 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 8 | head[4];
    edge->is_last = (head[0] & edge->end_flags) != 0;
    edge->head_len = 0;
    if (edge->left_bytes == 0)
        message_passed(edge);
}

/* One step: a piece of a message or one byte of a head. */
static size_t pass_some(struct stream_edge *edge, struct slice bytes)
{
    if (edge->left_bytes > 0) {
        size_t count = bytes.len < edge->left_bytes ? bytes.len : edge->left_bytes;
        edge->left_bytes -= (uint32_t)count;
        if (edge->left_bytes == 0)
            message_passed(edge);
        return count;
    }
    edge->head[edge->head_len++] = (uint8_t)bytes.ptr[0];
    if (edge->head_len == ENVELOPE_HEAD_BYTES)
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
