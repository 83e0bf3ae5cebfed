/* base/utf8.c — see utf8.h. */
#include "base/utf8.h"

/* Length that the first byte announces; 0 when it can start no sequence. */
static size_t announced_len(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef)
        return 3;
    return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

/* The second byte carries the limits that exclude overlong forms, surrogates and values over U+10FFFF. */
static bool second_is_allowed(unsigned char first, unsigned char second)
{
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;

    return second >= low && second <= high;
}

/* Bytes at the start of `text` that fit one sequence, whole or cut off; 0 when the first byte fits none. */
static size_t fitting_len(struct slice text, size_t *out_announced)
{
    const unsigned char *bytes = (const unsigned char *)text.ptr;
    size_t announced = text.len > 0 ? announced_len(bytes[0]) : 0;
    size_t fitting = announced > 0 ? 1 : 0;

    *out_announced = announced;
    while (fitting > 0 && fitting < announced && fitting < text.len) {
        bool allowed = fitting == 1 ? second_is_allowed(bytes[0], bytes[1])
                                    : bytes[fitting] >= 0x80 && bytes[fitting] <= 0xbf;
        if (!allowed)
            return 0;
        fitting++;
    }
    return fitting;
}

size_t utf8_sequence_len(struct slice text)
{
    size_t announced;
    size_t fitting = fitting_len(text, &announced);

    return fitting == announced ? announced : 0;
}

bool utf8_is_valid(struct slice text)
{
    while (text.len > 0) {
        size_t len = utf8_sequence_len(text);
        if (len == 0)
            return false;
        text = slice_skip(text, len);
    }
    return true;
}

size_t utf8_incomplete_tail_len(struct slice text)
{
    for (size_t back = 1; back <= 3 && back <= text.len; back++) {
        struct slice tail = slice_skip(text, text.len - back);
        size_t announced;
        if (((unsigned char)tail.ptr[0] & 0xc0) == 0x80)
            continue; /* a continuation byte: its first byte stands further ahead */
        return fitting_len(tail, &announced) == back && announced > back ? back : 0;
    }
    return 0;
}
