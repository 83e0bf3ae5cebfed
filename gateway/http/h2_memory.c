/* http/h2_memory.c — nghttp2 allocates a dozen small pieces per request and frees them before long;
 * mem_take() keeps them per thread. The size stands before each piece, because nghttp2 does not
 * tell it when it frees. */
#include "http/h2_session.h"

#include <stddef.h>

#include "base/mem.h"

struct piece {
    size_t size_bytes; /* of all */
    max_align_t memory[];
};

static void *take(size_t size_bytes, void *user)
{
    struct piece *piece = mem_take(sizeof(*piece) + size_bytes);
    (void)user;

    piece->size_bytes = sizeof(*piece) + size_bytes;
    return piece->memory;
}

static void give(void *memory, void *user)
{
    (void)user;
    if (memory == NULL)
        return;
    struct piece *piece = CONTAINER_OF(memory, struct piece, memory);

    mem_give(piece, piece->size_bytes);
}

static void *take_zeroed(size_t count, size_t size_bytes, void *user)
{
    size_t all_bytes;

    if (__builtin_mul_overflow(count, size_bytes, &all_bytes))
        return NULL;
    return memset(take(all_bytes, user), 0, all_bytes);
}

static void *grow(void *memory, size_t size_bytes, void *user)
{
    void *larger = take(size_bytes, user);

    if (memory != NULL) {
        struct piece *piece = CONTAINER_OF(memory, struct piece, memory);
        size_t old_bytes = piece->size_bytes - sizeof(*piece);

        memcpy(larger, memory, old_bytes < size_bytes ? old_bytes : size_bytes);
        give(memory, user);
    }
    return larger;
}

nghttp2_mem *h2_memory(void)
{
    static nghttp2_mem memory = {
        .malloc = take, .free = give, .calloc = take_zeroed, .realloc = grow
    };

    return &memory;
}
