/* tests/load/target.h — whom the run is against, and as who: addresses and TLS, tokens, the client's own limits. */
#pragma once

#include "options.h"
#include "run.h"

/* Fills all of `out` (zeroed by the caller) but its times and results; borrows `options` and `scenario`. EXIT_PASSED, or
 * EXIT_USAGE after telling standard error; target_deinit() is for either. */
int target_prepare(const struct options *options, const struct scenario *scenario,
                   struct settings *out);
void target_deinit(struct settings *settings);
