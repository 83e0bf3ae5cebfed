/* tests/load/facts.h — CPU time and memory of the gateway: from /proc of a pid on this machine, or from its /metrics. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "net/address.h"

struct facts_source {
    pid_t pid; /* 0: not from /proc */
    bool has_metrics;
    struct address metrics; /* http://HOST:PORT or unix:/path */
    const char *path;       /* "/metrics" */
    const char *secret;     /* bearer; NULL: none */
};

struct facts {
    double cpu_s; /* since its start */
    double rss_mib;
};

/* False: not known now. Blocks for at most half a second. */
bool facts_read(const struct facts_source *source, struct facts *out);
double facts_client_cpu_s(void);
