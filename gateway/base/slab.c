/* base/slab.c — see slab.h. A span once mapped stays mapped: an empty one gives its pages back and
 * keeps its addresses for the next size that wants them, so that mappings never get many.
 *
 *     class ─▶ spans with room ─▶ pieces that came back, then pieces never given yet
 *     empty span ─▶ warm, with its pages ─▶ in use again, or cold when slab_cool() finds it twice */
#include "base/slab.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/list.h"

enum {
    SPAN_BYTES = 64 * 1024,
    FIRST_PIECE = 2 * SLAB_STEP_BYTES, /* behind the span itself */
    PAGE_BYTES = 4096,
    COOL_COUNT = 16, /* spans at a time: giving pages back interrupts the other threads */
};

struct piece {
    struct piece *next;
};

struct span {
    struct list link; /* of its class while it has room, of the spares while it is empty */
    struct slab_pool *pool;
    struct piece *given_back;
    size_t piece_bytes;
    unsigned capacity;
    unsigned fresh; /* never given: the last ones */
    unsigned used;
};

/* Of one thread, which it outlives: others may give back what they got from it. */
struct slab_pool {
    struct list with_room[SLAB_COUNT];
    struct list warm; /* empty spans with their pages */
    struct list cold; /* without */
    size_t warm_count;
    size_t idle_count; /* of the warm: not needed since the last slab_cool() */
    _Atomic(struct piece *) from_others;
};

static _Thread_local struct slab_pool *own_pool;

static void *map(size_t size_bytes)
{
    void *memory =
        mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory != MAP_FAILED ? memory : NULL;
}

static struct slab_pool *pool_create(void)
{
    struct slab_pool *pool = map(sizeof(*pool)); /* filled with zero */

    if (pool == NULL)
        return NULL;
    for (size_t i = 0; i < SLAB_COUNT; i++)
        list_init(&pool->with_room[i]);
    list_init(&pool->warm);
    list_init(&pool->cold);
    return pool;
}

/* At a multiple of its size, so that a piece finds its span. */
static struct span *span_map(void)
{
    char *memory = map(2 * SPAN_BYTES);

    if (memory == NULL)
        return NULL;

    size_t before = (size_t)(-(uintptr_t)memory % SPAN_BYTES);

    if (before > 0)
        (void)munmap(memory, before);
    (void)munmap(memory + before + SPAN_BYTES, SPAN_BYTES - before);
    return (struct span *)(void *)(memory + before);
}

static struct span *spare_of(struct slab_pool *pool)
{
    bool is_warm = pool->warm_count > 0;
    struct list *spares = is_warm ? &pool->warm : &pool->cold;

    if (list_is_empty(spares))
        return span_map();

    struct span *span = LIST_FIRST(spares, struct span, link);

    list_unlink(&span->link);
    if (is_warm && --pool->warm_count < pool->idle_count)
        pool->idle_count = pool->warm_count;
    return span;
}

_Static_assert(sizeof(struct span) <= FIRST_PIECE, "a span overlaps its first piece");

static struct span *span_open(struct slab_pool *pool, size_t size_class)
{
    struct span *span = spare_of(pool);

    if (span == NULL)
        return NULL;
    *span = (struct span){ .pool = pool, .piece_bytes = (size_class + 1) * SLAB_STEP_BYTES };
    span->capacity = (unsigned)((SPAN_BYTES - FIRST_PIECE) / span->piece_bytes);
    span->fresh = span->capacity;
    list_init(&span->link);
    list_append(&pool->with_room[size_class], &span->link);
    return span;
}

static void span_close(struct span *span)
{
    list_unlink(&span->link);
    list_prepend(&span->pool->warm, &span->link);
    span->pool->warm_count++;
}

/* Its first page holds the span itself: it stays. */
static void span_cool(struct span *span)
{
    (void)madvise((char *)span + PAGE_BYTES, SPAN_BYTES - PAGE_BYTES, MADV_DONTNEED);
    list_unlink(&span->link);
    list_append(&span->pool->cold, &span->link);
    span->pool->warm_count--;
}

static struct span *span_of(void *memory)
{
    return (struct span *)((uintptr_t)memory & ~(uintptr_t)(SPAN_BYTES - 1));
}

static size_t class_of(const struct span *span)
{
    return span->piece_bytes / SLAB_STEP_BYTES - 1;
}

/* Spans that were full come last: those before them are filled first, the rest gets a chance to become
 * empty. The last one with room stays open, empty or not. */
static void give_own(struct span *span, struct piece *piece)
{
    ENSURE(span->used > 0);
    piece->next = span->given_back;
    span->given_back = piece;
    if (span->used-- == span->capacity)
        list_append(&span->pool->with_room[class_of(span)], &span->link);
    if (span->used == 0 && span->link.next != span->link.prev)
        span_close(span);
}

static void give_to_other(struct slab_pool *pool, struct piece *piece)
{
    piece->next = atomic_load_explicit(&pool->from_others, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&pool->from_others, &piece->next, piece,
                                                  memory_order_release, memory_order_relaxed))
        continue;
}

static void take_from_others(struct slab_pool *pool)
{
    struct piece *piece = atomic_exchange_explicit(&pool->from_others, NULL, memory_order_acquire);

    while (piece != NULL) {
        struct piece *next = piece->next;

        give_own(span_of(piece), piece);
        piece = next;
    }
}

static struct span *span_with_room(struct slab_pool *pool, size_t size_class)
{
    struct list *with_room = &pool->with_room[size_class];

    if (list_is_empty(with_room))
        take_from_others(pool);
    return list_is_empty(with_room) ? span_open(pool, size_class)
                                    : LIST_FIRST(with_room, struct span, link);
}

void *slab_take(size_t size_bytes)
{
    size_t size_class = size_bytes > 0 ? (size_bytes - 1) / SLAB_STEP_BYTES : 0;

    ENSURE(size_class < SLAB_COUNT);
    if (own_pool == NULL && (own_pool = pool_create()) == NULL)
        return NULL;

    struct span *span = span_with_room(own_pool, size_class);

    if (span == NULL)
        return NULL;

    struct piece *piece = span->given_back;

    if (piece != NULL) {
        span->given_back = piece->next;
        __builtin_prefetch(piece->next, 1); /* the next taker finds it warm; NULL does no harm */
    } else {
        piece = (struct piece *)(void *)((char *)span + FIRST_PIECE +
                                         (span->capacity - span->fresh) * span->piece_bytes);
        span->fresh--;
    }
    if (++span->used == span->capacity)
        list_unlink(&span->link);
    return piece;
}

void slab_give(void *memory)
{
    struct span *span = span_of(memory);

    if (span->pool == own_pool)
        give_own(span, memory);
    else
        give_to_other(span->pool, memory);
}

void slab_cool(void)
{
    struct slab_pool *pool = own_pool;

    if (pool == NULL)
        return;
    take_from_others(pool);

    size_t count = pool->idle_count < COOL_COUNT ? pool->idle_count : COOL_COUNT;

    while (count-- > 0)
        span_cool(LIST_ITEM(pool->warm.prev, struct span, link));
    pool->idle_count = pool->warm_count;
}
