/* sockets.h — listening sockets that are there before the process: systemd's (socket activation) or
 * the previous generation's (SIGUSR2). A listener takes those of its address in place of binding, so
 * that not one connection that waits in a queue is lost.
 *
 * Of the previous generation comes one socket per worker; should the number of workers change, each
 * worker takes several, or binds one more beside them. Main thread only. */
#pragma once

#include "base/buf.h"
#include "net/address.h"

struct sockets;

/* From the environment, which it cleans: LISTEN_PID, LISTEN_FDS (systemd), or what sockets_print()
 * said. Returns owned; never NULL. */
struct sockets *sockets_from_environment(void);

/* Closes, and logs, what nobody took. Sets *sockets to NULL; may already be NULL. */
void sockets_destroy(struct sockets **sockets);

/* The sockets of one listener: the first group of this address that no listener before has got. `as`
 * is the address as configured. Returns a number for sockets_take(); -1: there are none. */
int sockets_claim(struct sockets *sockets, const struct address *as);

/* How many sockets_take() has for this worker. */
size_t sockets_share(const struct sockets *sockets, int group, size_t worker, size_t worker_count);

/* The nth socket (from 0) of worker `worker` of `worker_count` in a group that was claimed; -1: none. The caller closes it. */
int sockets_take(struct sockets *sockets, int group, size_t worker, size_t worker_count,
                 size_t nth);

/* For the next generation: one line per group, "FD,FD=ADDRESS\n". */
enum { SOCKETS_VARIABLE_BYTES = 32 };
extern const char sockets_variable[]; /* the variable that holds those lines */
void sockets_print_address(const struct address *as, struct buf *into);

bool socket_can_be_shared_by_port(int fd); /* has SO_REUSEPORT: more can be bound beside it */
