/* pressure.h — how near the process is to its memory limit, looked at every 250 ms. The limit is
 * `limits.memory`, against which resident memory counts; without it, that of the tightest cgroup
 * above us, against which the cgroup's memory counts but for file pages that can be dropped. No
 * limit, no pressure. Main thread only. */
#pragma once

#include "net/loop.h"

enum pressure_level {
    PRESSURE_NONE,
    PRESSURE_HIGH,     /* 80 %: idle connections and stalled writers get 5 s */
    PRESSURE_CRITICAL, /* 90 %: new calls are refused, idle connections go */
    PRESSURE_FULL,     /* 95 %: nothing is accepted */
};

struct pressure;
typedef void pressure_fn(void *arg, enum pressure_level level);

/* `limit_bytes` 0: the cgroup's. `on_change` runs when the level changes (already logged), never
 * before this returns. Returns owned. */
struct pressure *pressure_create(struct loop *loop, uint64_t limit_bytes, pressure_fn *on_change,
                                 void *arg);
void pressure_set_limit(struct pressure *pressure, uint64_t limit_bytes);
enum pressure_level pressure_level(const struct pressure *pressure);
void pressure_destroy(struct pressure **pressure); /* sets *pressure to NULL; may already be NULL */
