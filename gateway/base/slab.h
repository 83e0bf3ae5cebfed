/* base/slab.h — small pieces of memory by size: pieces of one size lie together in spans of 64 KiB, so that what came for a
 * moment and went leaves whole pages for the system behind, and no holes between what stays (a request's head is gone when
 * its answer begins, its stream lives for hours). For mem.c alone. */
#pragma once

#include <stddef.h>

enum { SLAB_STEP_BYTES = 64, SLAB_COUNT = 64, SLAB_MAX_BYTES = SLAB_STEP_BYTES * SLAB_COUNT };

/* Returns owned memory of this thread, aligned to 64 bytes, not cleared; NULL: the system has none. `size_bytes` is at most
 * SLAB_MAX_BYTES. */
void *slab_take(size_t size_bytes);

/* By any thread; what another one gives back is used again when the one that took it runs out. */
void slab_give(void *memory);

/* Gives pages back to the system that this thread has not needed since its last call; now and then, by every thread that takes
 * and gives much. */
void slab_cool(void);
