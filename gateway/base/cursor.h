/* base/cursor.h — a sticky reader over borrowed bytes: read in straight lines, check once at the end. After a short
 * read every further read gives zero or the empty slice. Numbers are big-endian. */
#pragma once

#include "base/slice.h"
#include "base/status.h"

struct cursor {
    struct slice left;
    bool failed;
};

static inline struct cursor cursor_over(struct slice bytes)
{
    return (struct cursor){ .left = bytes };
}

static inline struct slice cursor_take(struct cursor *in, size_t count)
{
    if (in->failed || in->left.len < count) {
        in->failed = true;
        return SLICE_EMPTY;
    }
    struct slice taken = slice_first(in->left, count);
    in->left = slice_skip(in->left, count);
    return taken;
}

static inline uint8_t cursor_u8(struct cursor *in)
{
    struct slice byte = cursor_take(in, 1);

    return byte.len == 1 ? (uint8_t)byte.ptr[0] : 0;
}

static inline uint32_t cursor_u32(struct cursor *in)
{
    struct slice bytes = cursor_take(in, 4);
    uint32_t number = 0;

    for (size_t i = 0; i < bytes.len; i++)
        number = number << 8 | (uint8_t)bytes.ptr[i];
    return number;
}

static inline enum status cursor_status(const struct cursor *in)
{
    return in->failed ? STATUS_MALFORMED : STATUS_OK;
}
