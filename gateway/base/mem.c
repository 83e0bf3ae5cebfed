/* base/mem.c — the only place that calls malloc and its family. */
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#include "base/ensure.h"

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

void mem_wipe(void *memory, size_t size_bytes)
{
    explicit_bzero(memory, size_bytes);
}
