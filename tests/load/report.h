/* tests/load/report.h — what a run was, for programs (JSON) and for people (one HTML page that needs nothing else; a line a second
 * while it runs; a summary at its end). */
#pragma once

#include "verdict.h"

struct report_facts {   /* what the report says beside the results */
    const char *target; /* "http://127.0.0.1:8080"; no credentials */
    const char *note;   /* from --note; may be empty */
    int64_t started_wall_s;
    bool was_stopped; /* SIGINT */
};

/* All thresholds hold. */
bool report_passed(const struct results *results);
/* False, after telling standard error: the file cannot be written. */
bool report_write_json(const char *file, const struct results *results,
                       const struct report_facts *facts);
bool report_write_html(const char *file, const struct results *results,
                       const struct report_facts *facts);

void report_progress(const struct results *results, size_t second, bool is_terminal);
void report_summary(const struct results *results);
