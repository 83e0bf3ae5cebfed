/* Responses of a guest that speaks HTTP/1: to POST, HEAD, CONNECT and an upgrade, with interim ones
 * before and rubbish behind. */
#include "codec_fuzz.h"

static bool run(const struct codec_input *input, struct buf *seen)
{
    return codec_ask(input, SLICE_EMPTY, false, seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    codec_compare(data, size, run);
    return 0;
}
