/* agent/process.h — one process that somebody started: its exit, its output to every subscriber,
 * its input.
 *
 *     RUNNING ── exit ──▶ DRAINING ── output is out ──▶ ENDED
 *
 * Draining passes on what the process wrote before it exited, and what descendants that still hold
 * its pipes write until they are silent for 100 ms (1 s at most); then the end event goes out. A
 * descendant that lives on, such as a server in the background, keeps a pipe that is read and
 * dropped, so that it neither blocks nor dies of SIGPIPE.
 *
 * Signals go to the process group of the leader, so that a shell's children get them too. */
#pragma once

#include "agent/process_input.h"
#include "agent/spawn.h"
#include "agent/subscriber.h"

struct process;

struct process_options { /* borrowed by the processes */
    struct loop *loop;
    struct fanout_shared *fanout;
    struct spawn_options spawn;
    void (*on_ended)(void *owner,
                     struct process *process); /* runs once, never before process_start() returns */
    void *owner;
};

/* Returns owned, with one reference. `timeout_ms` (0: none) is its life: then the whole group gets
 * SIGKILL. Copies what it keeps of `request`. Errors: spawn()'s. */
enum connect_code process_start(const struct process_options *options,
                                const struct start_request *request, uint64_t timeout_ms,
                                struct buf *out_error, struct process **out_process);

struct process *process_ref(struct process *process);
/* The last one frees it; a running group gets SIGKILL first. Sets *process to NULL; may already be
 * NULL. */
void process_unref(struct process **process);

uint32_t process_pid(const struct process *process);
struct slice process_tag(const struct process *process);
const struct process_config *process_config(const struct process *process);
bool process_has_pty(const struct process *process);
bool process_is_running(const struct process *process);
const struct process_event *
process_end_event(const struct process *process);      /* NULL before ENDED */
bool process_is_silent(const struct process *process); /* nobody holds its pipes any more */

/* Before ENDED only. */
void process_subscribe(struct process *process, struct subscriber *subscriber);

/* To the group. False: it is not running any more. */
bool process_signal(struct process *process, int signal_number);
void process_resize(struct process *process, uint32_t cols, uint32_t rows); /* with a PTY only */

void process_write(struct process *process, struct input_job *job);
void process_close_input(struct process *process);
