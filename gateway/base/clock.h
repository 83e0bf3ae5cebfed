/* base/clock.h — time as a parameter. The loop refreshes its clock once a turn; tests set the fields by hand.
 * Deadlines use now_ms (monotonic); only token times and log lines use the wall clock. */
#pragma once

#include <stdint.h>

struct clock {
    uint64_t now_ms; /* CLOCK_MONOTONIC */
    uint64_t now_us; /* the same, in microseconds */
    int64_t wall_ms; /* CLOCK_REALTIME, milliseconds since 1970 */
};

void clock_refresh(struct clock *clock);
