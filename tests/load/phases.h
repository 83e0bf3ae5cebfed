/* tests/load/phases.h — the course of a run: lanes start, the warm-up passes, what counts is measured, all of it ends.
 *
 *     connections open │ warm-up │ measured ...........│ what is under way ends
 *                    begin     warm                   end
 *                                └── CPU of gateway and client ──┘
 */
#pragma once

#include "facts.h"
#include "run.h"

/* Prints a line a second. SIGINT and SIGTERM end the run early. EXIT_PASSED, or EXIT_FAILED after telling standard error. */
int phases_run(struct settings *settings, struct results *results,
               const struct facts_source *source);
