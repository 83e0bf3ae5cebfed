/* agent/gzip.c — see gzip.h. */
#include "agent/gzip.h"

#include <limits.h>
#include <zlib.h>

enum { STEP_BYTES = 16 * 1024, WINDOW_BITS_GZIP_ONLY = 15 + 16 };

static void inflate_end(z_stream *stream)
{
    (void)inflateEnd(stream);
}

enum status gzip_inflate(struct slice bytes, size_t limit_bytes, struct buf *into)
{
    __attribute__((cleanup(inflate_end))) z_stream stream = { 0 };
    size_t total = 0;
    int result = Z_OK;

    if (bytes.len > UINT_MAX || inflateInit2(&stream, WINDOW_BITS_GZIP_ONLY) != Z_OK)
        return STATUS_MALFORMED;
    stream.next_in = (unsigned char *)(uintptr_t)bytes.ptr;
    stream.avail_in = (unsigned)bytes.len;
    while (result == Z_OK) {
        stream.next_out = (unsigned char *)buf_reserve(into, STEP_BYTES);
        stream.avail_out = STEP_BYTES;
        result = inflate(&stream, Z_NO_FLUSH);
        buf_commit(into, STEP_BYTES - stream.avail_out);
        total += STEP_BYTES - stream.avail_out;
        if (total > limit_bytes)
            return STATUS_BODY_TOO_LARGE;
        if (result == Z_OK && stream.avail_in == 0 && stream.avail_out > 0)
            return STATUS_MALFORMED; /* cut short */
    }
    return result == Z_STREAM_END && stream.avail_in == 0 ? STATUS_OK : STATUS_MALFORMED;
}
