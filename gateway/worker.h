/* worker.h — one thread with one loop and everything on it: listeners, server, proxy, caches,
 * pools. Built and destroyed by the main thread, run by its own; worker_post_* may be called from
 * any thread. */
#pragma once

#include "admin/worker_view.h"
#include "config/config.h"
#include "net/listener.h"

struct address_count;
struct sockets;
struct worker;

struct worker_options {
    struct config *config; /* a reference is taken */
    size_t index, worker_count;
    size_t max_conns;                /* of this worker */
    struct sockets *sockets;         /* that were there before us; borrowed for worker_create() */
    const int *socket_groups;        /* by listener, as sockets_claim() said; borrowed likewise */
    struct address_count *addresses; /* shared by the workers; borrowed */
    bool is_held;                    /* accepts nothing before worker_post_open() */
    const struct worker *first;      /* NULL for the first itself: the others share its ports */
    int access_log_fd;               /* borrowed; -1: none */
    /* Both on the worker's thread. on_warm: once, when it can serve: its routes are within reach.
     * on_drained: after worker_post_drain(), the last conn is gone. */
    void (*on_warm)(void *arg);
    void (*on_drained)(void *arg);
    void *arg;
};

/* Binds. Errors: SYSTEM, CONFIG_INVALID (already logged). */
MUST_CHECK enum status worker_create(const struct worker_options *options,
                                     struct worker **out_worker);
void worker_destroy(
    struct worker **worker); /* after the thread has ended; ends what is open at once */

/* The thread: turns the loop until worker_post_stop(), stands still until worker_let_end(), then takes down all but
 * what worker_destroy() frees. In between, the main thread may look at everything. */
void worker_run(struct worker *worker);
void worker_wait_stopped(struct worker *worker);
void worker_let_end(struct worker *worker);
void worker_post_stop(struct worker *worker);
void worker_post_open(struct worker *worker); /* accepts from now on */

/* The three steps of a drain: readiness turns false; no new conns and requests, with the pace of
 * `spread_ms`; what is still open ends in its own protocol. `passed_on`: another process accepts on
 * the sockets. */
void worker_post_unready(struct worker *worker);
void worker_post_drain(struct worker *worker, uint64_t spread_ms, bool passed_on);
void worker_post_end(struct worker *worker);

/* Takes a reference of `config`. */
void worker_post_reload(struct worker *worker, struct config *config, size_t max_conns);

/* How much memory is left (pressure.h). */
void worker_post_pressure(struct worker *worker, unsigned level);

/* Rises while the loop turns; from any thread. */
uint64_t worker_beats(const struct worker *worker);
void worker_post_log_fd(struct worker *worker, int fd);

/* For the admin server; stands as long as the worker. */
struct worker_view worker_view(const struct worker *worker);

size_t worker_listener_count(const struct worker *worker);
/* Its sockets of one listener, at most `limit`; returns how many. They stay its own. While it runs, only when it is not
 * draining. */
size_t worker_listener_fds(const struct worker *worker, size_t index, int *out_fds, size_t limit);
const struct address *worker_listener_address(const struct worker *worker, size_t index);
