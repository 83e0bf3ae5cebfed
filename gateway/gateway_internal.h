/* gateway_internal.h — the process as gateway.c (building, signals), gateway_drain.c (its end, and
 * the generation after it) and gateway_reload.c (a new configuration, a new log) share it. */
#pragma once

#include <pthread.h>

#include "control.h"
#include "gateway.h"
#include "net/address_count.h"
#include "net/timer.h"
#include "net/watch.h"
#include "pressure.h"
#include "upgrade.h"
#include "watchdog.h"
#include "worker.h"

enum phase { SERVING, UNREADY, DRAINING, ENDING };

struct gateway {
    struct config *config;
    struct loop *loop; /* the main thread's */
    struct watch *signals;
    struct timer drain_step, systemd_watchdog;
    struct upgrade *upgrade;
    struct sockets *sockets; /* only while building */
    struct address_count *client_addresses;
    struct pressure *pressure;
    struct watchdog *watchdog;
    struct worker **workers;
    struct control *control;
    pthread_t *threads;
    size_t worker_count;
    size_t thread_count; /* started */
    struct address *addresses;
    int access_log_fd; /* -1: none */
    size_t warm_count, drained_count;
    pid_t child;
    enum phase phase;
    bool is_succeeded;   /* by the next generation, which has our sockets */
    bool upgrade_wanted; /* when the previous generation has ended */
    int exit_code;
};

/* gateway_drain.c */
extern const struct upgrade_events gateway_upgrade_events;
void gateway_start_drain(struct gateway *g); /* once; later calls do nothing */
void gateway_on_drain_step(struct timer *timer);
void gateway_upgrade(struct gateway *g); /* starts the next generation, or says why not */

/* gateway_reload.c */
void gateway_reload(struct gateway *g);
void gateway_reopen_log(struct gateway *g);
int gateway_open_access_log(const char *where); /* -1: off, or it cannot be opened (logged) */
/* Half of the descriptors for clients: each may need one toward an agent. */
size_t gateway_conns_per_worker(const struct config *config, size_t worker_count);
