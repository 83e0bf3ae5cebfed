/* base/ensure.h — assertions for our own mistakes. They stay on in production; no byte that a client, an agent,
 * Redis or a file can send may reach one (those get an `enum status`). */
#pragma once

#include <stdlib.h>

/* Prints where and what to standard error, then aborts. */
_Noreturn void ensure_failed(const char *condition, const char *file, int line);

#define ENSURE(condition) ((condition) ? (void)0 : ensure_failed(#condition, __FILE__, __LINE__))

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer) - __builtin_offsetof(type, member)))

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_index, first_index)                                                     \
    __attribute__((format(printf, format_index, first_index)))
