/* base/mem.h — memory that never fails. Limits on every client-driven resource make aborting on exhaustion safe. */
#pragma once

#include <stddef.h>

/* Once, before the first thread: heaps grow and shrink in larger steps, so that a worker whose load goes up and down does not
 * call mprotect() each time. */
void mem_prepare(void);

void *mem_alloc(size_t size_bytes);  /* returns owned, never NULL; free with mem_free */
void *mem_zeroed(size_t size_bytes); /* the same, filled with zero */
void *mem_grow(void *memory, size_t size_bytes);
char *mem_copy_string(const char *text);
void mem_free(void *memory); /* NULL is allowed */

/* For what comes and goes with every request: memory of the same size is kept per thread for the next taker instead of going
 * back to malloc, up to a bounded amount; small pieces of one size lie together (slab.h). mem_give() gets the size that mem_take() got; NULL is allowed. */
void *
mem_take(size_t size_bytes); /* returns owned, never NULL, not cleared; return with mem_give */
void mem_give(void *memory, size_t size_bytes);

/* Now and then, by a thread that takes and gives much: what it has not needed since the last time goes back to the system. */
void mem_cool(void);

/* Overwrites a secret before it is freed; the compiler may not drop it. */
void mem_wipe(void *memory, size_t size_bytes);
