/* Requests of HTTP/1 (RFC 9112), heads and bodies, pipelined and upgraded, through the server's
 * codec: whatever comes, the owner gets well-formed heads, bodies as long as promised, and the same
 * in pieces as at once. */
#include "codec_fuzz.h"

static bool run(const struct codec_input *input, struct buf *seen)
{
    return codec_serve(input, SLICE_EMPTY, seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    codec_compare(data, size, run);
    return 0;
}
