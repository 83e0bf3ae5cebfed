/* Frames of a client (RFC 9113) behind its preface and SETTINGS, through nghttp2 and our callbacks. */
#include "codec_fuzz.h"

static const char greeting[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

static bool run(const struct codec_input *input, struct buf *seen)
{
    return codec_serve(input, slice_of(greeting, sizeof(greeting) - 1), seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    codec_compare(data, size, run);
    return 0;
}
