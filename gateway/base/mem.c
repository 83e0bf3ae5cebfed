/* base/mem.c — the only place that calls malloc and its family. */
#include "base/mem.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "base/slab.h"

void ensure_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "exec-gateway: assertion failed: %s (%s:%d)\n", condition, file, line);
    abort();
}

static void *checked(void *memory)
{
    if (memory == NULL) {
        fputs("exec-gateway: out of memory\n", stderr);
        abort();
    }
    return memory;
}

void mem_prepare(void)
{
    enum { TRIM_BYTES = 8 << 20, PAD_BYTES = 256 * 1024 };

    mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
    mallopt(M_TOP_PAD, PAD_BYTES);
}

void *mem_alloc(size_t size_bytes)
{
    return checked(malloc(size_bytes > 0 ? size_bytes : 1));
}

void *mem_zeroed(size_t size_bytes)
{
    return checked(calloc(1, size_bytes > 0 ? size_bytes : 1));
}

void *mem_grow(void *memory, size_t size_bytes)
{
    return checked(realloc(memory, size_bytes > 0 ? size_bytes : 1));
}

char *mem_copy_string(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(mem_alloc(size), text, size);
}

void mem_free(void *memory)
{
    free(memory);
}

/* ---- pieces that come and go: small ones in slabs, larger ones in lists of free ones ---- */

enum {
    FIRST_BYTES = 8192, /* classes of large pieces: 8, 16 … 128 KiB; above malloc decides */
    SLACK_BYTES = 512,  /* on top: for what is a round number and a little head */
    CLASS_COUNT = 5,
    KEPT_BYTES = 256 * 1024, /* per class */
};

struct piece {
    struct piece *next;
};

struct piece_list {
    struct piece *first;
    size_t count;
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PIECES_ARE_KEPT 0 /* the sanitizers must see each end of life */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PIECES_ARE_KEPT 0
#else
#define PIECES_ARE_KEPT 1
#endif
#else
#define PIECES_ARE_KEPT 1
#endif

static _Thread_local struct piece_list kept[CLASS_COUNT];

static size_t bytes_of(size_t size_class)
{
    return ((size_t)FIRST_BYTES << size_class) + SLACK_BYTES;
}

/* CLASS_COUNT: none. */
static size_t size_class_of(size_t size_bytes)
{
    size_t size_class = 0;

    while (size_class < CLASS_COUNT && size_bytes > bytes_of(size_class))
        size_class++;
    return size_class;
}

void *mem_take(size_t size_bytes)
{
    if (!PIECES_ARE_KEPT)
        return mem_alloc(size_bytes);
    if (size_bytes <= SLAB_MAX_BYTES)
        return checked(slab_take(size_bytes));

    size_t size_class = size_class_of(size_bytes);

    if (size_class == CLASS_COUNT)
        return mem_alloc(size_bytes);

    struct piece *piece = kept[size_class].first;
    if (piece == NULL)
        return mem_alloc(bytes_of(size_class));
    kept[size_class].first = piece->next;
    kept[size_class].count--;
    __builtin_prefetch(piece->next, 1); /* the next taker finds it warm; NULL does no harm */
    return piece;
}

void mem_give(void *memory, size_t size_bytes)
{
    size_t size_class = size_class_of(size_bytes);
    struct piece *piece = memory;

    if (piece == NULL)
        return;
    if (PIECES_ARE_KEPT && size_bytes <= SLAB_MAX_BYTES) {
        slab_give(memory);
        return;
    }
    if (!PIECES_ARE_KEPT || size_class == CLASS_COUNT ||
        kept[size_class].count * bytes_of(size_class) >= KEPT_BYTES) {
        mem_free(memory);
        return;
    }
    piece->next = kept[size_class].first;
    kept[size_class].first = piece;
    kept[size_class].count++;
}

void mem_cool(void)
{
    slab_cool();
}

void mem_wipe(void *memory, size_t size_bytes)
{
    explicit_bzero(memory, size_bytes);
}
