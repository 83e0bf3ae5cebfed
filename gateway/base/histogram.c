/* base/histogram.c — see histogram.h. */
#include "base/histogram.h"

const uint64_t histogram_bounds_us[HISTOGRAM_BOUND_COUNT] = {
    500,    1000,    2500,    5000,    10000,    25000,    50000,    100000,    250000,
    500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000, 300000000, 3600000000,
};

void histogram_observe(struct histogram *histogram, uint64_t us)
{
    unsigned i = 0;

    while (i < HISTOGRAM_BOUND_COUNT && us > histogram_bounds_us[i])
        i++;
    counter_add(&histogram->buckets[i], 1);
    counter_add(&histogram->sum_us, us);
}
