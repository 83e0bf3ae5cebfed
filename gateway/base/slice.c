/* base/slice.c — see slice.h. */
#include "base/slice.h"

#include "base/mem.h"

bool slice_equal_secret(struct slice a, struct slice b)
{
    uint64_t difference = 0;
    size_t i = 0;

    if (a.len != b.len)
        return false;
    for (; i + 8 <= a.len; i += 8) {
        uint64_t left, right;

        memcpy(&left, a.ptr + i, 8);
        memcpy(&right, b.ptr + i, 8);
        difference |= left ^ right;
    }
    for (; i < a.len; i++)
        difference |= (uint64_t)(unsigned char)(a.ptr[i] ^ b.ptr[i]);
    return difference == 0;
}

size_t slice_find(struct slice s, char byte)
{
    const char *found = s.len > 0 ? memchr(s.ptr, byte, s.len) : NULL;

    return found != NULL ? (size_t)(found - s.ptr) : s.len;
}

struct slice slice_cut(struct slice *rest, char separator)
{
    size_t at = slice_find(*rest, separator);
    struct slice before = slice_of(rest->ptr, at);

    *rest = at < rest->len ? slice_skip(*rest, at + 1) : slice_of(rest->ptr + rest->len, 0);
    return before;
}

bool slice_to_u64(struct slice s, uint64_t *out_number)
{
    uint64_t number = 0;

    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        if (__builtin_mul_overflow(number, 10u, &number) ||
            __builtin_add_overflow(number, (uint64_t)(s.ptr[i] - '0'), &number))
            return false;
    }
    *out_number = number;
    return true;
}

char *slice_to_string(struct slice s, char *text, size_t size)
{
    size_t len = s.len < size ? s.len : size - 1;

    if (len > 0)
        memcpy(text, s.ptr, len);
    text[len] = '\0';
    return text;
}

char *slice_dup(struct slice s)
{
    return slice_to_string(s, mem_alloc(s.len + 1), s.len + 1);
}
