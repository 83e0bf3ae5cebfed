/* agent/process_input.h — what goes into a process: jobs that wait in line for its stdin or PTY. A
 * process that does not read holds back the jobs, and each job's owner holds back its own client.
 */
#pragma once

#include "connect/connect_code.h"
#include "net/watch.h"

struct input_job;
/* All of it was written, or never will be. The job is out of the line and may be used again. May
 * run before input_queue_add() returns. */
typedef void input_done_fn(struct input_job *job, enum connect_code code, const char *words);

struct input_job {
    struct list link;
    struct slice left; /* borrowed until it is done */
    input_done_fn *on_done;
};
void input_job_init(struct input_job *job, input_done_fn *on_done);
void input_job_cancel(
    struct input_job *job); /* harmless when it does not wait; on_done does not run */

struct input_queue {
    struct list jobs;
    struct watch *watch; /* NULL: none, or closed */
    const char *why_closed;
    bool is_closing;
};

/* Takes `fd`; -1: the process has no stdin. */
void input_queue_init(struct input_queue *queue, struct loop *loop, int fd);
void input_queue_add(struct input_queue *queue, struct input_job *job);

/* Ends the input after the jobs in line; idempotent. */
void input_queue_close(struct input_queue *queue);

/* At once; the jobs in line fail with these. Idempotent. */
void input_queue_end(struct input_queue *queue, enum connect_code code, const char *words);
