/* net/watch.h — readiness of one file descriptor (socket, pipe, PTY, pidfd, inotify …) on a loop. Polls only: reading
 * and writing are the owner's, into its own bounded buffers. */
#pragma once

#include "net/loop.h"

struct watch;

struct watch_events {
    void (*on_readable)(void *owner); /* also at end of file, hang-up and error */
    void (*on_writable)(void *owner);
};

/* Returns owned. Takes `fd`, makes it non-blocking, and closes it in watch_destroy(). Borrows `events` and `owner`.
 * Nothing is polled until asked for. */
struct watch *watch_create(struct loop *loop, int fd, const struct watch_events *events,
                           void *owner);

/* For events from now on; borrows both. */
void watch_set_owner(struct watch *watch, const struct watch_events *events, void *owner);

/* Closes the descriptor; no callback runs afterwards. Sets *watch to NULL; *watch may already be NULL. Safe inside the
 * watch's own callback. */
void watch_destroy(struct watch **watch);

/* The same without closing: returns the descriptor, the caller's again. */
int watch_release(struct watch **watch);

void watch_read(struct watch *watch, bool enabled); /* level-triggered */
void watch_write(struct watch *watch);              /* on_writable runs once, then ask again */
int watch_fd(const struct watch *watch);
