/* The plain-JSON form. 'Q': a request body (the method is Start or Connect by the next byte). Else an
 * agent's answer: the first byte is the length of the pieces and the kind; in pieces and at once, the
 * same events come out. */
#include "fuzz.h"

#include "proxy/plain_json.h"

static void check_request(struct slice body, enum process_method method)
{
    struct arena arena;
    struct plain_request request = { 0 };
    struct buf envelope = { 0 }, error = { 0 };

    arena_init(&arena, NULL, 0);
    enum status status = plain_request_frame(method, body, &arena, &request, &envelope, &error);

    ENSURE(status == STATUS_OK || status == STATUS_MALFORMED);
    if (status == STATUS_OK) {
        ENSURE(envelope.len >= 5);
        struct slice frame = buf_slice(&envelope);
        size_t len = (size_t)(unsigned char)frame.ptr[1] << 24 |
                     (size_t)(unsigned char)frame.ptr[2] << 16 |
                     (size_t)(unsigned char)frame.ptr[3] << 8 | (unsigned char)frame.ptr[4];

        ENSURE(frame.ptr[0] == 0 && len + 5 == frame.len);
    }
    buf_deinit(&envelope);
    buf_deinit(&error);
    arena_deinit(&arena);
}

static enum status answer(struct slice bytes, size_t piece_bytes, enum plain_kind kind,
                          struct buf *into)
{
    struct plain_answer plain;
    enum status status = STATUS_OK;

    plain_answer_init(&plain, kind, 512);
    while (status == STATUS_OK && bytes.len > 0) {
        struct slice piece = slice_first(bytes, piece_bytes);

        bytes = slice_skip(bytes, piece.len);
        status = plain_answer_feed(&plain, piece, into);
    }
    ENSURE(status == STATUS_OK || status == STATUS_AGENT_PROTOCOL);
    ENSURE(plain.output[0].len + plain.output[1].len <= 512);
    if (kind == PLAIN_DOCUMENT)
        plain_answer_append_document(&plain, into);
    else
        plain_answer_append_error(&plain, SLICE("\"code\":\"unavailable\""), into);
    plain_answer_deinit(&plain);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf in_pieces = { 0 }, at_once = { 0 };

    if (size < 2)
        return 0;
    if (data[0] == 'Q') {
        check_request(slice_of(data + 2, size - 2),
                      (data[1] & 1) != 0 ? METHOD_CONNECT : METHOD_START);
        return 0;
    }

    struct slice bytes = slice_of(data + 2, size - 2);
    enum plain_kind kind = (enum plain_kind)(data[1] % 3);
    enum status first = answer(bytes, (size_t)data[0] + 1, kind, &in_pieces);
    enum status second = answer(bytes, size, kind, &at_once);

    ENSURE(first == second);
    ENSURE(first != STATUS_OK || slice_equal(buf_slice(&in_pieces), buf_slice(&at_once)));
    buf_deinit(&in_pieces);
    buf_deinit(&at_once);
    return 0;
}
