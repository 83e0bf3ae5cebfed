/* tests/load/verdict.h — the numbers of a run by name, and whether its thresholds hold. */
#pragma once

#include "results.h"

/* "list" "p99_ms"; "gateway" "cpu_us_per_call". False: there is no such number. NAN: not known in
 * this run. */
bool verdict_number(const struct results *results, const char *load, const char *metric,
                    double *out);

/* Does it hold? A number that is not known does not. `out_value` is NAN then. */
bool verdict_holds(const struct results *results, const struct threshold *threshold,
                   double *out_value);

/* Calls, events and openings of all loads that were due after the warm-up and ended well: what the measured CPU time was for. */
uint64_t verdict_work(const struct results *results);
