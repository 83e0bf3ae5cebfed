/* agent/pty.h — pseudo terminals: open one, give it a size. */
#pragma once

#include <stdint.h>

#include "base/status.h"

enum { PTY_NAME_BYTES = 64 };

struct pty {
    int master;                /* close-on-exec; the caller's */
    char name[PTY_NAME_BYTES]; /* of the side that the process opens */
};

/* Errors: SYSTEM with errno set, and nothing is open. */
MUST_CHECK enum status pty_open(struct pty *out_pty);

/* The foreground process group gets SIGWINCH. Values beyond 65535 are cut to it. */
void pty_resize(int master, uint32_t cols, uint32_t rows);
