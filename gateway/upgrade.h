/* upgrade.h — the next generation (SIGUSR2): the program at our own path is started with our
 * listening sockets; it reads the configuration anew, warms up, and says when it serves; only then
 * do we drain. Whatever goes wrong before leaves us as we were.
 *
 *     old:  idle ─▶ starting ─▶ served (we drain) ─▶ we end          new:  upgrade_tell_ready()
 *                      └──▶ idle: it ended, or did not serve in time
 *
 * At most two generations live: one more upgrade waits for the oldest to end. Main thread only. */
#pragma once

#include "base/buf.h"
#include "net/loop.h"

struct upgrade;

struct upgrade_events {
    void (*on_served)(void *owner, pid_t successor);
    void (*on_failed)(void *owner); /* already logged */
    void (*on_alone)(void *owner);  /* the previous generation has ended */
};

/* Reads and cleans what the previous generation put into the environment. Borrows `events`, `owner`.
 * Returns owned. */
struct upgrade *upgrade_create(struct loop *loop, const struct upgrade_events *events, void *owner);
void upgrade_destroy(struct upgrade **upgrade); /* sets *upgrade to NULL; may already be NULL */

bool upgrade_has_previous(const struct upgrade *upgrade); /* it still lives */
bool upgrade_is_starting(const struct upgrade *upgrade);

/* We serve: the previous generation may drain. Nothing when there is none. */
void upgrade_tell_ready(struct upgrade *upgrade);

/* `sockets`: the value of sockets_variable; `fds`: all that stand in it. Errors: SYSTEM (already
 * logged). */
MUST_CHECK enum status upgrade_start(struct upgrade *upgrade, const char *sockets, const int *fds,
                                     size_t fd_count, uint64_t timeout_ms);
void upgrade_cancel(struct upgrade *upgrade); /* we end ourselves: the successor need not begin */

/* A child has ended; false: it is not ours. */
bool upgrade_reap(struct upgrade *upgrade, pid_t pid, int wait_status);
