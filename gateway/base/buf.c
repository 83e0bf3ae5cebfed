/* base/buf.c — see buf.h. */
#include "base/buf.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/utf8.h"

enum {
    BUF_SMALLEST_BYTES = 256,
    BUF_TEXT_BYTES = 2048,
    BUF_BODY_BYTES = 16 * 1024,
    BUF_WINDOW_BYTES = 64 * 1024,
};

static const uint64_t each_byte = 0x0101010101010101u;

void buf_deinit(struct buf *buf)
{
    mem_give(buf->memory, buf->capacity);
    *buf = (struct buf){ 0 };
}

void buf_grow(struct buf *buf, size_t size_bytes)
{
    size_t capacity = buf->capacity > 0 ? buf->capacity : BUF_SMALLEST_BYTES;

    /* Moving costs less than growing when at least half of the memory is dead. */
    if (buf->memory != NULL && buf->start > 0 && buf->len + size_bytes <= buf->capacity &&
        buf->start >= buf->len) {
        memmove(buf->memory, buf->memory + buf->start, buf->len);
        buf->start = 0;
        return;
    }
    /* Small texts double; a body goes in two steps to the size of a window instead of copying itself
     * at each doubling. */
    while (capacity < buf->len + size_bytes)
        capacity = capacity == BUF_BODY_BYTES                                ? BUF_WINDOW_BYTES
                   : capacity >= BUF_TEXT_BYTES && capacity < BUF_BODY_BYTES ? BUF_BODY_BYTES
                                                                             : capacity * 2;
    char *memory = mem_take(capacity);
    if (buf->memory != NULL && buf->len > 0)
        memcpy(memory, buf->memory + buf->start, buf->len);
    mem_give(buf->memory, buf->capacity);
    buf->memory = memory;
    buf->capacity = capacity;
    buf->start = 0;
}

void buf_commit(struct buf *buf, size_t size_bytes)
{
    ENSURE(buf->start + buf->len + size_bytes <= buf->capacity);
    buf->len += size_bytes;
}

void buf_append_u64(struct buf *buf, uint64_t number)
{
    enum { DIGITS_MAX = 20 };
    char digits[DIGITS_MAX];
    size_t at = DIGITS_MAX;

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    buf_append(buf, slice_of(digits + at, DIGITS_MAX - at));
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    buf_vprintf(buf, format, arguments);
    va_end(arguments);
}

void buf_vprintf(struct buf *buf, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);

    size_t room = 128;
    int len = vsnprintf(buf_reserve(buf, room), room, format, arguments);
    ENSURE(len >= 0);
    if ((size_t)len >= room)
        vsnprintf(buf_reserve(buf, (size_t)len + 1), (size_t)len + 1, format, again);
    va_end(again);
    buf->len += (size_t)len;
}

static void append_escaped(struct buf *buf, unsigned char c)
{
    switch (c) {
    case '"':
        buf_append(buf, SLICE("\\\""));
        break;
    case '\\':
        buf_append(buf, SLICE("\\\\"));
        break;
    case '\n':
        buf_append(buf, SLICE("\\n"));
        break;
    case '\r':
        buf_append(buf, SLICE("\\r"));
        break;
    case '\t':
        buf_append(buf, SLICE("\\t"));
        break;
    default:
        buf_printf(buf, "\\u%04x", c);
    }
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* A high bit in each byte of `word` that is zero; above the first such byte it may be wrong. */
static uint64_t zero_bytes(uint64_t word)
{
    return (word - each_byte) & ~word & (each_byte * 0x80);
}

/* How many bytes at the head of `text` need no escape; eight at a time, as most text is plain. */
static size_t plain_len(struct slice text)
{
    size_t len = 0;

    for (; len + 8 <= text.len; len += 8) {
        uint64_t word;

        memcpy(&word, text.ptr + len, 8);
        uint64_t special = (word & (each_byte * 0x80)) |
                           ((word - each_byte * 0x20) & ~word & (each_byte * 0x80)) |
                           zero_bytes(word ^ each_byte * 0x7f) |
                           zero_bytes(word ^ each_byte * '"') | zero_bytes(word ^ each_byte * '\\');
        if (special != 0)
            break; /* look closely */
    }
    while (len < text.len && is_plain((unsigned char)text.ptr[len]))
        len++;
    return len;
}

void buf_append_json_text(struct buf *buf, struct slice text)
{
    while (text.len > 0) {
        size_t plain = plain_len(text);

        buf_append(buf, slice_first(text, plain));
        text = slice_skip(text, plain);
        if (text.len == 0)
            return;
        if ((unsigned char)text.ptr[0] < 0x80) {
            append_escaped(buf, (unsigned char)text.ptr[0]);
            text = slice_skip(text, 1);
            continue;
        }
        size_t sequence = utf8_sequence_len(text);
        if (sequence > 0)
            buf_append(buf, slice_first(text, sequence));
        else
            buf_append(buf, SLICE("\xef\xbf\xbd"));
        text = slice_skip(text, sequence > 0 ? sequence : 1);
    }
}

void buf_consume(struct buf *buf, size_t size_bytes)
{
    ENSURE(size_bytes <= buf->len);
    buf->start += size_bytes;
    buf->len -= size_bytes;
    if (buf->len == 0)
        buf_deinit(buf);
}

void buf_clear(struct buf *buf)
{
    buf->start = 0;
    buf->len = 0;
}

const char *buf_text(struct buf *buf)
{
    *buf_reserve(buf, 1) = '\0';
    return buf->memory + buf->start;
}
