/* watchdog.h — a worker whose loop stands still serves nobody, and nobody else can take over its
 * connections: the process says where it stands and ends, so that its supervisor starts a new one.
 * Looked at from the main thread, and only while that one runs itself: a process that was stopped as
 * a whole (SIGSTOP, a paused VM) is not punished. */
#pragma once

#include <pthread.h>

#include "net/loop.h"

struct watchdog;
struct worker;

/* Borrows both arrays. `limit_ms` 0: off. Returns owned. */
struct watchdog *watchdog_create(struct loop *loop, struct worker *const *workers,
                                 const pthread_t *threads, size_t count, uint64_t limit_ms);
void watchdog_set_limit(struct watchdog *watchdog, uint64_t limit_ms);
void watchdog_destroy(struct watchdog **watchdog); /* sets *watchdog to NULL; may already be NULL */
