/* tests/load/pacer.c — arrival k is due when the integral of the rate reaches k. */
#include "pacer.h"

#include <math.h>

uint64_t pacer_due_us(const struct pacer *pacer)
{
    double in_ramp = pacer->rate * pacer->ramp_s / 2; /* arrivals until the rate is full */
    double k = (double)pacer->next, after_s;
    uint64_t due_us;

    if (pacer->rate <= 0 || (pacer->limit > 0 && pacer->next >= pacer->limit))
        return UINT64_MAX;
    after_s = k < in_ramp ? sqrt(2 * pacer->ramp_s * k / pacer->rate)
                          : k / pacer->rate + pacer->ramp_s / 2;
    due_us = pacer->start_us + (uint64_t)(after_s * 1e6);
    return due_us < pacer->end_us ? due_us : UINT64_MAX;
}
