/* proxy/websocket_edge.c — see websocket_edge.h. */
#include "proxy/websocket_edge.h"

enum { OPCODE_CLOSE = 0x8, FIN = 0x80, MASKED = 0x80, REASON_BYTES_MAX = 123 };

static size_t head_size(const struct websocket_edge *edge)
{
    size_t size = 2;
    uint8_t length = edge->head[1] & 0x7f;

    if (edge->head_len < 2)
        return size;
    if (length >= 126)
        size += length == 126 ? 2 : 8;
    return size + ((edge->head[1] & MASKED) != 0 ? 4 : 0);
}

static uint64_t payload_size(const struct websocket_edge *edge)
{
    uint8_t length = edge->head[1] & 0x7f;
    unsigned count = length == 126 ? 2 : length == 127 ? 8 : 0;
    uint64_t size = 0;

    if (count == 0)
        return length;
    for (unsigned i = 0; i < count; i++)
        size = size << 8 | edge->head[2 + i];
    return size;
}

void websocket_edge_pass(struct websocket_edge *edge, struct slice bytes)
{
    while (bytes.len > 0 && !edge->is_lost) {
        if (edge->left_bytes > 0) {
            size_t count = edge->left_bytes < bytes.len ? (size_t)edge->left_bytes : bytes.len;
            edge->left_bytes -= count;
            bytes = slice_skip(bytes, count);
            continue;
        }
        edge->head[edge->head_len++] = (uint8_t)bytes.ptr[0];
        bytes = slice_skip(bytes, 1);
        if (edge->head_len < head_size(edge))
            continue;
        edge->left_bytes = payload_size(edge);
        edge->is_lost = edge->left_bytes > INT64_MAX;
        edge->saw_close |= (edge->head[0] & 0x0f) == OPCODE_CLOSE;
        edge->head_len = 0;
    }
}

/* 0: the stream just breaks, as the app's did. */
static unsigned code_of(enum status status)
{
    if (status_http(status) == 401 || status_http(status) == 403 || status == STATUS_HOST_UNKNOWN)
        return 1008;
    return status == STATUS_DRAINING || status == STATUS_COMPUTER_NOT_RUNNING ||
                   status == STATUS_COMPUTER_UNKNOWN || status == STATUS_CANCELED
               ? 1001
               : 0;
}

bool websocket_append_close(struct buf *into, enum status status, const char *reason)
{
    struct slice text = slice_first(slice_from_string(reason), REASON_BYTES_MAX);
    unsigned code = code_of(status);

    if (code == 0)
        return false;
    buf_append_byte(into, (char)(FIN | OPCODE_CLOSE));
    buf_append_byte(into, (char)(2 + text.len));
    buf_append_byte(into, (char)(code >> 8));
    buf_append_byte(into, (char)(code & 0xff));
    buf_append(into, text);
    return true;
}
