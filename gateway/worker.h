/* worker.h — one thread with one loop and everything on it: listeners, server, proxy, caches,
 * pools. Built and destroyed by the main thread, run by its own; worker_post_* may be called from
 * any thread. */
#pragma once

#include "admin/worker_view.h"
#include "config/config.h"
#include "net/listener.h"

struct worker;

struct worker_options {
    struct config *config; /* a reference is taken */
    size_t index;
    size_t max_conns;           /* of this worker */
    const struct worker *first; /* NULL for the first itself: the others share its ports */
    int access_log_fd;          /* borrowed; -1: none */
    void (*on_drained)(
        void *arg); /* after worker_post_drain(): the last conn is gone. On the worker's thread */
    void *arg;
};

/* Binds. Errors: SYSTEM, CONFIG_INVALID (already logged). */
MUST_CHECK enum status worker_create(const struct worker_options *options,
                                     struct worker **out_worker);
void worker_destroy(
    struct worker **worker); /* after the thread has ended; ends what is open at once */

void worker_run(struct worker *worker); /* until worker_post_stop() */
void worker_post_stop(struct worker *worker);
void worker_post_drain(struct worker *worker);
void worker_post_reload(struct worker *worker, struct config *config); /* takes a reference */
void worker_post_log_fd(struct worker *worker, int fd);

/* For the admin server; stands as long as the worker. */
struct worker_view worker_view(const struct worker *worker);

size_t worker_listener_count(const struct worker *worker);
const struct address *worker_listener_address(const struct worker *worker, size_t index);
