/* Envelopes: the first byte is the length of the pieces; in pieces and at once, the same messages
 * and the same end. */
#include "fuzz.h"

#include "connect/envelope.h"

enum { MESSAGE_BYTES = 300 };

static enum status hear(void *arg, uint8_t flags, struct slice message)
{
    struct buf *heard = arg;

    ENSURE(message.len <= MESSAGE_BYTES);
    buf_printf(heard, "%u %zu ", flags, message.len);
    buf_append(heard, message);
    return STATUS_OK;
}

static enum status feed(struct slice bytes, size_t piece_bytes, struct buf *heard,
                        bool *out_at_edge)
{
    struct envelope_reader reader;
    enum status status = STATUS_OK;

    envelope_reader_init(&reader, MESSAGE_BYTES);
    while (status == STATUS_OK && bytes.len > 0) {
        struct slice piece = slice_first(bytes, piece_bytes);
        bytes = slice_skip(bytes, piece.len);
        status = envelope_reader_feed(&reader, piece, hear, heard);
        ENSURE(reader.held.len < ENVELOPE_HEAD_BYTES + MESSAGE_BYTES);
    }
    *out_at_edge = envelope_reader_is_at_edge(&reader);
    envelope_reader_deinit(&reader);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;

    struct slice bytes = slice_of(data + 1, size - 1);
    struct buf at_once = { 0 };
    struct buf in_pieces = { 0 };
    bool edge_at_once, edge_in_pieces;
    enum status first = feed(bytes, size, &at_once, &edge_at_once);
    enum status second = feed(bytes, data[0] > 0 ? data[0] : 1, &in_pieces, &edge_in_pieces);

    ENSURE(first == second && slice_equal(buf_slice(&at_once), buf_slice(&in_pieces)));
    ENSURE(first != STATUS_OK || edge_at_once == edge_in_pieces);
    buf_deinit(&at_once);
    buf_deinit(&in_pieces);
    return 0;
}
