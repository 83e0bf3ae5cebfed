/* agent/spawn.h — starts one program: checks the request, finds the command, builds the
 * environment, opens pipes or a PTY, and runs it as the leader of its own session. posix_spawn(3)
 * does the delicate part: the child shares no half-made state with the agent, and a failed exec
 * comes back as an errno. The child gets descriptors 0, 1 and 2 and no other, default signals and
 * an empty signal mask. */
#pragma once

#include <sys/types.h>

#include "base/buf.h"
#include "connect/connect_code.h"
#include "connect/process_message.h"

struct spawned {
    pid_t pid;  /* also its process group and session */
    int pid_fd; /* readable once it has exited */
    int in;     /* its stdin, or the PTY; -1: none */
    int out;    /* its stdout, or the PTY (then a descriptor of its own) */
    int err;    /* its stderr; -1 with a PTY */
};

struct spawn_options {
    const char
        *default_cwd; /* where a request without `cwd` runs, and what a relative one starts from */
    uint64_t inherited_files; /* the soft RLIMIT_NOFILE that the child gets; 0: the agent's */
};

/* CONNECT_OK, or the code for the caller, with the reason in `out_error`:
 *   invalid_argument    no cmd; NUL bytes; a bad variable name; cwd is no directory; not a program;
 * arguments too long not_found           no such command permission_denied   it may not be executed
 *   resource_exhausted  out of processes, descriptors, memory or terminals */
enum connect_code spawn(const struct start_request *request, const struct spawn_options *options,
                        struct buf *out_error, struct spawned *out_spawned);
