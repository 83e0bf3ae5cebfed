/* base/arena.h — memory of one exchange: many small pieces, freed all at once. The first piece can live in the owner's
 * own struct, so that an ordinary request allocates nothing. */
#pragma once

#include "base/slice.h"

struct arena_block;

struct arena {
    char *next;
    size_t left;
    struct arena_block *blocks;
    size_t used_bytes; /* asked for in all; callers compare it with their limit */
};

/* Borrows `memory` (may be NULL with size 0), which must outlive the arena. */
void arena_init(struct arena *arena, void *memory, size_t size_bytes);
void arena_deinit(struct arena *arena);

/* An empty arena gets a piece of just this size at once: for what is known to fit, and stays long. */
void arena_reserve(struct arena *arena, size_t size_bytes);

/* Aligned for any object; never NULL. */
void *arena_alloc(struct arena *arena, size_t size_bytes);
char *arena_bytes(struct arena *arena, size_t size_bytes); /* unaligned */
struct slice arena_copy(struct arena *arena, struct slice bytes);
struct slice arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
