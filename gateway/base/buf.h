/* base/buf.h — owned bytes that grow at the tail and leave at the head: the queue of every pipe and the builder of
 * every text. An empty buf holds no memory, so a quiet stream costs nothing. */
#pragma once

#include <stdarg.h>

#include "base/ensure.h"
#include "base/slice.h"

struct buf {
    char *memory; /* owned; NULL when nothing was ever held or after buf_deinit */
    size_t start; /* first live byte */
    size_t len;   /* live bytes */
    size_t capacity;
};

/* A zeroed buf is empty and ready. Frees the memory; the buf is empty again. */
void buf_deinit(struct buf *buf);

static inline struct slice buf_slice(const struct buf *buf)
{
    return buf->memory != NULL ? slice_of(buf->memory + buf->start, buf->len) : SLICE_EMPTY;
}

void buf_grow(struct buf *buf, size_t size_bytes); /* for the functions below */

/* Room for `size_bytes` more at the tail: returns where to write; buf_commit() then says how many were written. */
static inline char *buf_reserve(struct buf *buf, size_t size_bytes)
{
    if (buf->capacity - buf->start - buf->len < size_bytes || buf->memory == NULL)
        buf_grow(buf, size_bytes);
    return buf->memory + buf->start + buf->len;
}

void buf_commit(struct buf *buf, size_t size_bytes);

/* Inline, so that a literal becomes a few stores. */
static inline void buf_append(struct buf *buf, struct slice bytes)
{
    if (bytes.len == 0)
        return;
    memcpy(buf_reserve(buf, bytes.len), bytes.ptr, bytes.len);
    buf->len += bytes.len;
}

static inline void buf_append_byte(struct buf *buf, char byte)
{
    *buf_reserve(buf, 1) = byte;
    buf->len += 1;
}

void buf_append_u64(struct buf *buf, uint64_t number); /* decimal */
void buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *buf, const char *format, va_list arguments);

/* Appends as the inside of a JSON string: quotes, backslashes and control characters escaped; bytes that are no UTF-8
 * become U+FFFD. */
void buf_append_json_text(struct buf *buf, struct slice text);

/* Drops `size_bytes` from the head. Emptying frees the memory. */
void buf_consume(struct buf *buf, size_t size_bytes);
void buf_clear(struct buf *buf); /* keeps the memory */

/* Appends a NUL that does not count and returns the text, borrowed until the next change. */
const char *buf_text(struct buf *buf);
