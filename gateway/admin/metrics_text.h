/* admin/metrics_text.h — everything that is counted, as Prometheus text (format 0.0.4). Reads
 * counters with relaxed atomics: no worker notices. */
#pragma once

#include "admin/process_facts.h"

void metrics_text_print(const struct process_facts *facts, struct buf *into);

/* What the gauges of the process say, given for tests. */
void metrics_text_print_usage(const struct process_usage *usage, struct buf *into);
