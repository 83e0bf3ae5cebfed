/* Frames of an agent behind its SETTINGS, with two requests open. */
#include "codec_fuzz.h"

static const char greeting[] = "\0\0\0\4\0\0\0\0\0";

static bool run(const struct codec_input *input, struct buf *seen)
{
    return codec_ask(input, slice_of(greeting, sizeof(greeting) - 1), true, seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    codec_compare(data, size, run);
    return 0;
}
