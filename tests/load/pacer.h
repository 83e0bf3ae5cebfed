/* tests/load/pacer.h — an open-loop schedule: the moments at which things are due, fixed before the run, whatever the server does.
 * With a ramp the rate grows evenly from nothing. Lane i of n takes arrivals i, i + n, i + 2n … */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pacer {
    double rate; /* a second, of all lanes together */
    double ramp_s;
    uint64_t start_us, end_us;
    uint64_t limit; /* arrivals of all lanes together; 0: none */
    uint64_t next;  /* number of this lane's next arrival */
    uint64_t step;  /* lanes */
};

/* When the next arrival is due; UINT64_MAX when there is none. */
uint64_t pacer_due_us(const struct pacer *pacer);
static inline void pacer_step(struct pacer *pacer)
{
    pacer->next += pacer->step;
}
