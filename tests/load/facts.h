/* tests/load/facts.h — CPU time and memory of the gateway: from /proc of a pid on this machine, or from its /metrics. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "net/address.h"
#include "options.h"

struct facts_source {
    pid_t pid; /* 0: not from /proc */
    bool has_metrics;
    struct address metrics; /* http://HOST:PORT or unix:/path */
    char secret[512];       /* bearer; empty: none */
};

struct facts {
    double cpu_s; /* since its start */
    double rss_mib;
};

/* EXIT_PASSED, or EXIT_USAGE after telling standard error. */
int facts_source_make(struct facts_source *out, const struct options *options);

/* False: not known now. Blocks for at most half a second. */
bool facts_read(const struct facts_source *source, struct facts *out);
double facts_client_cpu_s(void);
