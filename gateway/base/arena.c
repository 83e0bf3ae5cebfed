/* base/arena.c — see arena.h. */
#include "base/arena.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "base/ensure.h"
#include "base/mem.h"

struct arena_block {
    struct arena_block *next;
    size_t size_bytes; /* of all, for mem_give() */
    max_align_t memory[];
};

enum { ARENA_BLOCK_BYTES = 2048 - sizeof(struct arena_block) };

void arena_init(struct arena *arena, void *memory, size_t size_bytes)
{
    *arena = (struct arena){ .next = memory, .left = size_bytes };
}

void arena_deinit(struct arena *arena)
{
    while (arena->blocks != NULL) {
        struct arena_block *block = arena->blocks;
        arena->blocks = block->next;
        mem_give(block, block->size_bytes);
    }
    *arena = (struct arena){ 0 };
}

void arena_reserve(struct arena *arena, size_t size)
{
    struct arena_block *block = mem_take(sizeof(*block) + size);

    block->size_bytes = sizeof(*block) + size;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->next = (char *)block->memory;
    arena->left = size;
}

static void add_block(struct arena *arena, size_t at_least_bytes)
{
    arena_reserve(arena, at_least_bytes > ARENA_BLOCK_BYTES ? at_least_bytes : ARENA_BLOCK_BYTES);
}

char *arena_bytes(struct arena *arena, size_t size_bytes)
{
    if (arena->left < size_bytes || arena->next == NULL)
        add_block(arena, size_bytes);
    char *bytes = arena->next;
    arena->next += size_bytes;
    arena->left -= size_bytes;
    arena->used_bytes += size_bytes;
    return bytes;
}

void *arena_alloc(struct arena *arena, size_t size_bytes)
{
    size_t alignment = _Alignof(max_align_t);
    size_t misaligned = (uintptr_t)arena->next % alignment;
    size_t padding = misaligned > 0 ? alignment - misaligned : 0;

    if (arena->left < padding + size_bytes) {
        add_block(arena, size_bytes);
        padding = 0;
    }
    return arena_bytes(arena, padding + size_bytes) + padding;
}

struct slice arena_copy(struct arena *arena, struct slice bytes)
{
    char *copy = arena_bytes(arena, bytes.len);

    if (bytes.len > 0)
        memcpy(copy, bytes.ptr, bytes.len);
    return slice_of(copy, bytes.len);
}

struct slice arena_printf(struct arena *arena, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    ENSURE(len >= 0);

    char *text = arena_bytes(arena, (size_t)len + 1);
    va_start(arguments, format);
    vsnprintf(text, (size_t)len + 1, format, arguments);
    va_end(arguments);
    return slice_of(text, (size_t)len);
}
