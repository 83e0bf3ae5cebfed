/* base/buf.c — see buf.h. */
#include "base/buf.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/utf8.h"

enum { BUF_SMALLEST_BYTES = 256 };

void buf_deinit(struct buf *buf)
{
    mem_free(buf->memory);
    *buf = (struct buf){ 0 };
}

static void make_room(struct buf *buf, size_t size_bytes)
{
    size_t capacity = buf->capacity > 0 ? buf->capacity : BUF_SMALLEST_BYTES;

    /* Moving costs less than growing when at least half of the memory is dead. */
    if (buf->memory != NULL && buf->start > 0 && buf->len + size_bytes <= buf->capacity &&
        buf->start >= buf->len) {
        memmove(buf->memory, buf->memory + buf->start, buf->len);
        buf->start = 0;
        return;
    }
    while (capacity < buf->len + size_bytes)
        capacity *= 2;
    char *memory = mem_alloc(capacity);
    if (buf->memory != NULL && buf->len > 0)
        memcpy(memory, buf->memory + buf->start, buf->len);
    mem_free(buf->memory);
    buf->memory = memory;
    buf->capacity = capacity;
    buf->start = 0;
}

char *buf_reserve(struct buf *buf, size_t size_bytes)
{
    if (buf->capacity - buf->start - buf->len < size_bytes || buf->memory == NULL)
        make_room(buf, size_bytes);
    return buf->memory + buf->start + buf->len;
}

void buf_commit(struct buf *buf, size_t size_bytes)
{
    ENSURE(buf->start + buf->len + size_bytes <= buf->capacity);
    buf->len += size_bytes;
}

void buf_append(struct buf *buf, struct slice bytes)
{
    if (bytes.len == 0)
        return;
    memcpy(buf_reserve(buf, bytes.len), bytes.ptr, bytes.len);
    buf->len += bytes.len;
}

void buf_append_byte(struct buf *buf, char byte)
{
    *buf_reserve(buf, 1) = byte;
    buf->len += 1;
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

void buf_append_json_text(struct buf *buf, struct slice text)
{
    while (text.len > 0) {
        size_t plain = 0;
        while (plain < text.len && (unsigned char)text.ptr[plain] >= 0x20 &&
               (unsigned char)text.ptr[plain] < 0x7f && text.ptr[plain] != '"' &&
               text.ptr[plain] != '\\')
            plain++;
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
