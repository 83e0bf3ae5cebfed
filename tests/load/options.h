/* tests/load/options.h — the command line of exec-load. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/ensure.h"
#include "identity.h"

enum { EXIT_PASSED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, LANES_MAX = 64 };

struct options { /* texts are borrowed from argv; NULL: not given */
    const char *scenario, *url, *tls_url, *ca, *authority, *tokens, *access_tokens;
    struct identity_mint mint;
    const char *metrics, *metrics_secret, *json, *html, *note, *duration, *emit_file;
    double scale;
    uint64_t pid, threads;
    bool check, smoke;
};

/* EXIT_PASSED, or EXIT_USAGE after telling standard error. */
int options_parse(struct options *out, int argc, char **argv);

/* Tells standard error what is wrong; returns EXIT_USAGE. */
int complain(const char *format, ...) PRINTF_LIKE(1, 2);
