/* control.h — the admin listener of the process: gathers the facts that it tells, and gives it what
 * the configuration says. On the main thread. */
#pragma once

#include "admin/records.h"
#include "worker.h"

struct control;

struct control_options {
    struct config *config; /* borrowed until control_reloaded() gives another */
    struct worker *const *workers;
    size_t worker_count;
    const struct address *listeners; /* as bound, by listener; borrowed */
    int inherited_fd;                /* > 0: the listening socket, from outside (takes it) */
    void (*drain)(void *arg);        /* POST /drain */
    void *arg;
};

/* Binds when the configuration has an admin.address. Errors: SYSTEM (already logged). */
MUST_CHECK enum status control_create(struct loop *loop, const struct control_options *options,
                                      struct control **out_control);

/* What the registry's records need of a configuration; `url` holds a text of it. For the commands,
 * too, which write records without a gateway. */
struct records_options control_records_options(const struct config *config, struct buf *url);

/* Before the old configuration goes. */
void control_reloaded(struct control *control, struct config *config);
void control_reload_failed(struct control *control);
void control_draining(struct control *control);
void control_pressure(struct control *control, unsigned level); /* 0–3 */

/* The listening socket, for the next generation; -1: there is none. */
int control_fd(const struct control *control);
void control_passed_on(struct control *control); /* that one accepts there now */

/* When no worker runs any more and before they are destroyed. Sets *control to NULL; may already be
 * NULL. */
void control_destroy(struct control **control);
