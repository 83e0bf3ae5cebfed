/* admin/admin_server.h — the admin listener: libh2o's own HTTP server on the main thread's loop, on
 * a Unix socket (mode 0600) or a loopback port. Over TCP everything but /livez and /readyz asks for
 * `Authorization: Bearer <secret>`, a Host that is loopback (a page of a browser cannot be tricked
 * into asking), and no Origin. */
#pragma once

#include "admin/process_facts.h"
#include "admin/records.h"

struct admin_server;

struct admin_options {
    struct address address;
    int inherited_fd;            /* > 0: a listening socket from outside (takes it) */
    const char *secret;          /* NULL: none, only on a Unix socket. Copied */
    struct process_facts *facts; /* borrowed */
    struct route_store
        *store; /* taken; NULL: records cannot be written. The server's own, on `loop` */
    struct records_options records;
    void (*drain)(void *arg);
    void *arg;
};

/* Binds. Errors: SYSTEM (already logged); the store is gone then, too. */
MUST_CHECK enum status admin_server_create(struct loop *loop, const struct admin_options *options,
                                           struct admin_server **out_server);

/* After a reload, before the old configuration goes. */
void admin_server_set(struct admin_server *server, const char *secret,
                      const struct records_options *records);

const struct address *admin_server_address(const struct admin_server *server); /* as bound */

int admin_server_fd(const struct admin_server *server);
/* Accepts no more: the next generation does, on the same socket. */
void admin_server_close_door(struct admin_server *server);

/* When no worker runs any more: turns the loop for a moment, so that connections end. Sets *server
 * to NULL; may already be NULL. */
void admin_server_destroy(struct admin_server **server);
