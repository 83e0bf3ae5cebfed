/* base/mem.h — memory that never fails. Limits on every client-driven resource make aborting on exhaustion safe. */
#pragma once

#include <stddef.h>

void *mem_alloc(size_t size_bytes);  /* returns owned, never NULL; free with mem_free */
void *mem_zeroed(size_t size_bytes); /* the same, filled with zero */
void *mem_grow(void *memory, size_t size_bytes);
char *mem_copy_string(const char *text);
void mem_free(void *memory); /* NULL is allowed */

/* Overwrites a secret before it is freed; the compiler may not drop it. */
void mem_wipe(void *memory, size_t size_bytes);
