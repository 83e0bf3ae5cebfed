/* base/clock.c — see clock.h. */
#include "base/clock.h"

#include <time.h>

void clock_refresh(struct clock *clock)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    clock->now_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    clock->now_ms = clock->now_us / 1000;
    clock_gettime(CLOCK_REALTIME, &now);
    clock->wall_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
