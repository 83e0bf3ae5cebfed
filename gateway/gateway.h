/* gateway.h — the process: its workers, its signals, its drain. Runs on the main thread. */
#pragma once

#include "config/config.h"

struct gateway;

/* Builds the workers and binds; on return the ports accept connections, nothing is served before
 * gateway_run(). Takes the caller's reference of `config`. Errors: SYSTEM, CONFIG_INVALID (already
 * logged). */
MUST_CHECK enum status gateway_create(struct config *config, struct gateway **out_gateway);

/* Serves until SIGTERM/SIGINT has drained it (or a second one ends it). SIGHUP reloads, SIGUSR1
 * reopens logs, SIGUSR2 starts the next generation. Returns the exit code. Call gateway_block_signals() first, before any thread
 * exists. */
int gateway_run(struct gateway *gateway);
void gateway_destroy(struct gateway **gateway); /* sets *gateway to NULL; may already be NULL */

void gateway_block_signals(void);

/* The address of the n-th listener as it was really bound. */
const struct address *gateway_address(const struct gateway *gateway, size_t index);

/* `pid` belongs to this process tree (the command `dev`): when it ends, the gateway does. */
void gateway_watch_child(struct gateway *gateway, pid_t pid);
