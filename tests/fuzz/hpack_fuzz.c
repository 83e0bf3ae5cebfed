/* Header blocks of one connection, each behind its length (two bytes): what nghttp2 reads we read, and the
 * same; what it refuses we refuse. */
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "base/buf.h"
#include "fuzz.h"
#include "http/hpack.h"

static bool note(void *arg, const struct hpack_field *field)
{
    struct buf *seen = arg;

    ENSURE(field->id < HPACK_NAME_COUNT);
    buf_append(seen, field->name);
    buf_append_byte(seen, '\n');
    buf_append(seen, field->value);
    buf_append_byte(seen, '\n');
    return true;
}

static bool read_with_nghttp2(nghttp2_hd_inflater *inflater, struct slice block, struct buf *seen)
{
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t count =
            nghttp2_hd_inflate_hd2(inflater, &nv, &flags, (const uint8_t *)block.ptr, block.len, 1);

        if (count < 0)
            return false;
        block = slice_skip(block, (size_t)count);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
            note(seen, &(struct hpack_field){ .name = slice_of(nv.name, nv.namelen),
                                              .value = slice_of(nv.value, nv.valuelen) });
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0)
            break;
    }
    nghttp2_hd_inflate_end_headers(inflater);
    return true;
}

static bool blocks_agree(struct hpack_decoder *decoder, nghttp2_hd_inflater *inflater,
                         struct slice block)
{
    struct buf ours = { 0 }, theirs = { 0 };
    bool we_read = hpack_decode(decoder, block, note, &ours) == STATUS_OK;
    bool they_read = read_with_nghttp2(inflater, block, &theirs);

    ENSURE(we_read == they_read);
    ENSURE(!we_read || slice_equal(buf_slice(&ours), buf_slice(&theirs)));
    buf_deinit(&ours);
    buf_deinit(&theirs);
    return we_read;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hpack_decoder decoder;
    nghttp2_hd_inflater *inflater;
    struct slice left = slice_of(data, size);
    bool goes_on = true;

    hpack_decoder_init(&decoder);
    ENSURE(nghttp2_hd_inflate_new(&inflater) == 0);
    while (goes_on && left.len > 2) {
        size_t length = (size_t)(unsigned char)left.ptr[0] << 8 | (unsigned char)left.ptr[1];
        struct slice block = slice_first(slice_skip(left, 2), length);

        left = slice_skip(left, 2 + block.len);
        goes_on = blocks_agree(&decoder, inflater, block);
    }
    hpack_decoder_deinit(&decoder);
    nghttp2_hd_inflate_del(inflater);
    return 0;
}
