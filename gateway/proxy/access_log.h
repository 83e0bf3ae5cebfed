/* proxy/access_log.h — one JSON line per request or stream end. Lines are written
 * together, at most 10 ms later; a sink that does not take them loses lines (counted), never time.
 * One per worker. */
#pragma once

#include "base/buf.h"
#include "base/counter.h"
#include "net/loop.h"

struct access_log;

/* Borrows `fd` (may be shared by workers: every write is whole lines of at most PIPE_BUF or goes to
 * a file in append mode). */
struct access_log *access_log_create(struct loop *loop, int fd);
void access_log_destroy(struct access_log **log);
void access_log_set_fd(struct access_log *log, int fd); /* SIGUSR1 */

/* Takes the text of one line (no newline) by copy. */
void access_log_line(struct access_log *log, struct slice line);
uint64_t access_log_dropped(const struct access_log *log);
