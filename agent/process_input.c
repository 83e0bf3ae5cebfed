/* agent/process_input.c — see process_input.h. */
#include "agent/process_input.h"

#include <errno.h>
#include <unistd.h>

void input_job_init(struct input_job *job, input_done_fn *on_done)
{
    *job = (struct input_job){ .left = SLICE_EMPTY, .on_done = on_done };
    list_init(&job->link);
}

void input_job_cancel(struct input_job *job)
{
    list_unlink(&job->link);
}

/* Writes as much as the pipe takes now. AGAIN: it is full; SYSTEM: nobody reads it any more. */
static enum status write_job(struct input_queue *queue, struct input_job *job)
{
    while (job->left.len > 0) {
        ssize_t count = write(watch_fd(queue->watch), job->left.ptr, job->left.len);

        if (count >= 0)
            job->left = slice_skip(job->left, (size_t)count);
        else if (errno == EAGAIN)
            return STATUS_AGAIN;
        else if (errno != EINTR)
            return STATUS_SYSTEM;
    }
    return STATUS_OK;
}

/* on_done may add to the queue, cancel others and end it: every step looks at it afresh. */
static void pump(struct input_queue *queue)
{
    while (queue->watch != NULL && !list_is_empty(&queue->jobs)) {
        struct input_job *job = LIST_FIRST(&queue->jobs, struct input_job, link);
        enum status status = write_job(queue, job);

        if (status == STATUS_AGAIN) {
            watch_write(queue->watch);
            return;
        }
        if (status != STATUS_OK) {
            input_queue_end(queue, CONNECT_FAILED_PRECONDITION, "process has closed its stdin");
            return;
        }
        list_unlink(&job->link);
        job->on_done(job, CONNECT_OK, "");
    }
    if (queue->watch != NULL && queue->is_closing)
        input_queue_end(queue, CONNECT_FAILED_PRECONDITION, "stdin is closed");
}

static void on_writable(void *owner)
{
    pump(owner);
}

static void on_readable(void *owner)
{
    (void)owner; /* never asked for */
}

static const struct watch_events input_events = {
    .on_readable = on_readable,
    .on_writable = on_writable,
};

void input_queue_init(struct input_queue *queue, struct loop *loop, int fd)
{
    *queue = (struct input_queue){ .why_closed = "process was started without stdin" };
    list_init(&queue->jobs);
    if (fd >= 0)
        queue->watch = watch_create(loop, fd, &input_events, queue);
}

void input_queue_add(struct input_queue *queue, struct input_job *job)
{
    if (queue->watch == NULL || queue->is_closing) {
        job->on_done(job, CONNECT_FAILED_PRECONDITION,
                     queue->watch == NULL ? queue->why_closed : "stdin is closed");
        return;
    }
    bool is_first = list_is_empty(&queue->jobs);

    list_append(&queue->jobs, &job->link);
    if (is_first)
        pump(queue); /* last line: the job may be gone */
}

void input_queue_close(struct input_queue *queue)
{
    queue->is_closing = true;
    pump(queue);
}

void input_queue_end(struct input_queue *queue, enum connect_code code, const char *words)
{
    if (queue->watch != NULL)
        queue->why_closed = words;
    watch_destroy(&queue->watch);
    while (!list_is_empty(&queue->jobs)) {
        struct input_job *job = LIST_FIRST(&queue->jobs, struct input_job, link);

        list_unlink(&job->link);
        job->on_done(job, code, words);
    }
}
