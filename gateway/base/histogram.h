/* base/histogram.h — how long things took, in fixed buckets; one per worker: only its thread
 * writes, any thread may read, no locks. One observation costs a short search and two stores. */
#pragma once

#include "base/counter.h"

enum { HISTOGRAM_BOUND_COUNT = 18 };

/* Upper bounds in microseconds, from half a millisecond to an hour. */
extern const uint64_t histogram_bounds_us[HISTOGRAM_BOUND_COUNT];

struct histogram {
    struct counter
        buckets[HISTOGRAM_BOUND_COUNT + 1]; /* each counts its own; the last: above all */
    struct counter sum_us;
};

void histogram_observe(struct histogram *histogram, uint64_t us);
