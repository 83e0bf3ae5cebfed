/* tests/load/plan.h — what is to be done: the scenario's file, with what the command line changes of it. */
#pragma once

#include "options.h"
#include "results.h"

/* These return EXIT_PASSED, or EXIT_USAGE after telling standard error. */
int plan_read(const struct options *options, struct scenario *out);
/* Every threshold asks for a number that there is. */
int plan_check_thresholds(const struct options *options, const struct results *results);

/* After a run of --smoke: every load did something, and nothing failed. */
bool plan_smoke_passed(const struct results *results);
