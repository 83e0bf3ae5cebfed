/* base/slice.h — borrowed bytes: a pointer and a length, never NUL-terminated, never freed through the slice. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct slice {
    const char *ptr;
    size_t len;
};

#define SLICE(literal) ((struct slice){ .ptr = "" literal, .len = sizeof(literal) - 1 })
#define SLICE_EMPTY ((struct slice){ .ptr = "", .len = 0 })

/* For printf: printf("%.*s", SLICE_ARGS(s)). */
#define SLICE_ARGS(s) ((int)(s).len), ((s).ptr)

static inline struct slice slice_of(const void *ptr, size_t len)
{
    return (struct slice){ .ptr = ptr, .len = len };
}

/* NULL gives the empty slice. */
static inline struct slice slice_from_string(const char *text)
{
    return text != NULL ? slice_of(text, strlen(text)) : SLICE_EMPTY;
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII letters compare without case. */
static inline bool slice_equal_nocase(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool slice_starts_with(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && memcmp(s.ptr, prefix.ptr, prefix.len) == 0;
}

static inline bool slice_starts_with_nocase(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && strncasecmp(s.ptr, prefix.ptr, prefix.len) == 0;
}

static inline bool slice_ends_with(struct slice s, struct slice suffix)
{
    return s.len >= suffix.len && memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0;
}

/* Copies the bytes of all into `into`, which has room for them. Returns how many there were. */
static inline size_t slices_join(char *into, const struct slice *parts, size_t part_count)
{
    size_t len = 0;

    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].len > 0)
            memcpy(into + len, parts[i].ptr, parts[i].len);
        len += parts[i].len;
    }
    return len;
}

/* The rest after `count` bytes; `count` may not be larger than the slice. */
static inline struct slice slice_skip(struct slice s, size_t count)
{
    return slice_of(count > 0 ? s.ptr + count : s.ptr, s.len - count); /* NULL + 0 is undefined */
}

static inline struct slice slice_first(struct slice s, size_t count)
{
    return slice_of(s.ptr, s.len < count ? s.len : count);
}

/* Compares in a time that depends on the lengths only; for secrets. */
bool slice_equal_secret(struct slice a, struct slice b);

/* Offset of the first `byte`, or the slice's length. */
size_t slice_find(struct slice s, char byte);

/* Cuts `*rest` at the first `separator`: returns what stands before it, leaves what stands after it (empty when there
 * is none). */
struct slice slice_cut(struct slice *rest, char separator);

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Without spaces and tabs at both ends (OWS of RFC 9110 §5.6.3). */
static inline struct slice slice_trim(struct slice s)
{
    while (s.len > 0 && is_blank(s.ptr[0]))
        s = slice_skip(s, 1);
    while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* Decimal digits only, no sign, no blank, no overflow. */
bool slice_to_u64(struct slice s, uint64_t *out_number);

/* The value of a hexadecimal digit in either case; -1: it is none. */
static inline int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Copies, cuts to `size - 1` bytes, and ends with NUL. Returns `text`. */
char *slice_to_string(struct slice s, char *text, size_t size);

/* Returns an owned NUL-terminated copy; free with mem_free. */
char *slice_dup(struct slice s);
