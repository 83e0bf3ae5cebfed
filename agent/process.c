/* agent/process.c — see process.h. Output is read in chunks of at most 32 KiB (pipes) or 16 KiB
 * (PTY), as envd does, and only while the fanout is not blocked: then the pipe fills and the kernel
 * stops the writer. */
#include "agent/process.h"

#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/process_exit.h"
#include "agent/pty.h"
#include "base/arena.h"
#include "base/mem.h"

enum {
    PIPE_CHUNK_BYTES = 32 * 1024,
    PTY_CHUNK_BYTES = 16 * 1024,
    READS_PER_WAKE = 4,
    QUIET_MS = 100,
    DRAIN_MS = 1000,
    OUTPUT_COUNT = 2,
};

enum process_state { PROCESS_RUNNING, PROCESS_DRAINING, PROCESS_ENDED };

struct output {
    struct process *process;
    struct watch *watch; /* NULL: closed by its writers */
    enum process_event_kind kind;
    size_t chunk_bytes;
    size_t owed_bytes; /* written before the exit, not yet read */
};

struct process {
    const struct process_options *options;
    unsigned ref_count;
    enum process_state state;
    uint32_t pid;
    bool has_pty;
    struct arena arena; /* of config and tag */
    struct process_config config;
    struct slice tag;
    struct watch *exit_watch;
    struct output outputs[OUTPUT_COUNT];
    struct input_queue input;
    struct fanout fanout;
    struct timer deadline;
    struct timer quiet;
    uint64_t drain_until_ms;
    struct process_event end;
    char status_text[PROCESS_STATUS_BYTES];
};

/* Bytes rest here within one call only. */
static _Thread_local char chunk[PIPE_CHUNK_BYTES];

/* ---- end ---- */

/* Only now may the kernel give the number away: while this process can be found by it, it is nobody
 * else's. */
static void reap(struct process *p)
{
    while (waitpid((pid_t)p->pid, NULL, 0) == -1 && errno == EINTR)
        continue;
}

static void end(struct process *p)
{
    timer_cancel(&p->quiet);
    timer_cancel(&p->deadline);
    reap(p);
    p->state = PROCESS_ENDED;
    fanout_finish(&p->fanout, &p->end);
    p->options->on_ended(p->options->owner, p);
}

static void drain_check(struct process *p)
{
    if (p->state == PROCESS_DRAINING && process_is_silent(p))
        end(p);
}

static void on_quiet(struct timer *timer)
{
    struct process *p = CONTAINER_OF(timer, struct process, quiet);

    if (p->outputs[0].owed_bytes > 0 || p->outputs[1].owed_bytes > 0)
        timer_arm(timer, QUIET_MS);
    else
        end(p);
}

static void start_drain_clock(struct process *p)
{
    p->drain_until_ms = loop_clock(p->options->loop)->now_ms + DRAIN_MS;
    timer_arm(&p->quiet, QUIET_MS);
}

static void count_owed(struct process *p)
{
    for (int i = 0; i < OUTPUT_COUNT; i++) {
        int waiting = 0;

        if (p->outputs[i].watch != NULL && !p->has_pty &&
            ioctl(watch_fd(p->outputs[i].watch), FIONREAD, &waiting) == 0 && waiting > 0)
            p->outputs[i].owed_bytes = (size_t)waiting;
    }
}

static void on_exit_readable(void *owner)
{
    struct process *p = owner;
    siginfo_t info = { 0 };

    if (waitid(P_PID, p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == -1 || info.si_pid == 0)
        return;
    watch_destroy(&p->exit_watch);
    p->state = PROCESS_DRAINING;
    process_exit_describe(&info, p->status_text, &p->end);
    count_owed(p);
    input_queue_end(&p->input, CONNECT_NOT_FOUND, "process has exited");
    if (!p->fanout.is_blocked)
        start_drain_clock(p);
    drain_check(p); /* last line: the process may be gone */
}

static void on_exit_writable(void *owner)
{
    (void)owner; /* never asked for */
}

static const struct watch_events exit_events = {
    .on_readable = on_exit_readable,
    .on_writable = on_exit_writable,
};

/* ---- output ---- */

static void take_output(struct output *o, struct slice bytes)
{
    struct process *p = o->process;
    const struct process_event event = { .kind = o->kind, .bytes = bytes };

    o->owed_bytes -= bytes.len < o->owed_bytes ? bytes.len : o->owed_bytes;
    if (p->state == PROCESS_DRAINING && loop_clock(p->options->loop)->now_ms < p->drain_until_ms)
        timer_arm(&p->quiet, QUIET_MS);
    fanout_send(&p->fanout, &event);
}

/* False: nothing more now. */
static bool read_output(struct output *o)
{
    ssize_t count;

    do
        count = read(watch_fd(o->watch), chunk, o->chunk_bytes);
    while (count == -1 && errno == EINTR);
    if (count > 0) {
        take_output(o, slice_of(chunk, (size_t)count));
        return (size_t)count == o->chunk_bytes;
    }
    if (count == -1 && errno == EAGAIN)
        return false;
    o->owed_bytes = 0; /* end of file; EIO: the PTY's last holder has gone */
    watch_destroy(&o->watch);
    return false;
}

static void on_output_readable(void *owner)
{
    struct output *o = owner;

    for (int i = 0; i < READS_PER_WAKE && !o->process->fanout.is_blocked; i++)
        if (!read_output(o))
            break;
    if (o->watch == NULL)
        drain_check(o->process); /* last line: the process may be gone */
}

static void on_output_writable(void *owner)
{
    (void)owner; /* never asked for */
}

static const struct watch_events output_events = {
    .on_readable = on_output_readable,
    .on_writable = on_output_writable,
};

static void on_pressure(struct fanout *fanout)
{
    struct process *p = CONTAINER_OF(fanout, struct process, fanout);

    for (int i = 0; i < OUTPUT_COUNT; i++)
        if (p->outputs[i].watch != NULL)
            watch_read(p->outputs[i].watch, !fanout->is_blocked);
    if (p->state != PROCESS_DRAINING)
        return;
    if (fanout->is_blocked)
        timer_cancel(&p->quiet);
    else
        start_drain_clock(p);
}

static void open_output(struct process *p, int index, int fd, enum process_event_kind kind)
{
    struct output *o = &p->outputs[index];

    o->process = p;
    o->kind = kind;
    o->chunk_bytes = kind == EVENT_PTY ? PTY_CHUNK_BYTES : PIPE_CHUNK_BYTES;
    if (fd < 0)
        return;
    o->watch = watch_create(p->options->loop, fd, &output_events, o);
    watch_read(o->watch, true);
}

/* ---- life ---- */

static void on_deadline(struct timer *timer)
{
    (void)process_signal(CONTAINER_OF(timer, struct process, deadline), SIGKILL);
}

static void copy_config(struct process *p, const struct start_request *request)
{
    const struct process_config *from = &request->process;
    struct process_config *to = &p->config;

    to->cmd = arena_copy(&p->arena, from->cmd);
    to->cwd = arena_copy(&p->arena, from->cwd);
    to->args = arena_alloc(&p->arena, from->arg_count * sizeof(*to->args));
    for (to->arg_count = 0; to->arg_count < from->arg_count; to->arg_count++)
        to->args[to->arg_count] = arena_copy(&p->arena, from->args[to->arg_count]);
    to->envs = arena_alloc(&p->arena, from->env_count * sizeof(*to->envs));
    for (to->env_count = 0; to->env_count < from->env_count; to->env_count++) {
        to->envs[to->env_count].name = arena_copy(&p->arena, from->envs[to->env_count].name);
        to->envs[to->env_count].value = arena_copy(&p->arena, from->envs[to->env_count].value);
    }
    p->tag = arena_copy(&p->arena, request->tag);
}

enum connect_code process_start(const struct process_options *options,
                                const struct start_request *request, uint64_t timeout_ms,
                                struct buf *out_error, struct process **out_process)
{
    struct spawned spawned;
    enum connect_code code = spawn(request, &options->spawn, out_error, &spawned);

    if (code != CONNECT_OK)
        return code;

    struct process *p = mem_zeroed(sizeof(*p));

    p->options = options;
    p->ref_count = 1;
    p->pid = (uint32_t)spawned.pid;
    p->has_pty = request->has_pty;
    arena_init(&p->arena, NULL, 0);
    copy_config(p, request);
    fanout_init(&p->fanout, options->fanout, on_pressure);
    timer_init(&p->deadline, options->loop, on_deadline);
    timer_init(&p->quiet, options->loop, on_quiet);
    p->exit_watch = watch_create(options->loop, spawned.pid_fd, &exit_events, p);
    watch_read(p->exit_watch, true);
    open_output(p, 0, spawned.out, p->has_pty ? EVENT_PTY : EVENT_STDOUT);
    open_output(p, 1, spawned.err, EVENT_STDERR);
    input_queue_init(&p->input, options->loop, spawned.in);
    if (timeout_ms > 0)
        timer_arm(&p->deadline, timeout_ms);
    *out_process = p;
    return CONNECT_OK;
}

struct process *process_ref(struct process *process)
{
    process->ref_count++;
    return process;
}

void process_unref(struct process **process)
{
    struct process *p = *process;

    *process = NULL;
    if (p == NULL || --p->ref_count > 0)
        return;
    ENSURE(p->fanout.count == 0);
    (void)process_signal(p, SIGKILL);
    if (p->state != PROCESS_ENDED)
        reap(p);
    timer_cancel(&p->deadline);
    timer_cancel(&p->quiet);
    input_queue_end(&p->input, CONNECT_UNAVAILABLE, "agent is shutting down");
    watch_destroy(&p->exit_watch);
    for (int i = 0; i < OUTPUT_COUNT; i++)
        watch_destroy(&p->outputs[i].watch);
    arena_deinit(&p->arena);
    mem_free(p);
}

uint32_t process_pid(const struct process *process)
{
    return process->pid;
}

struct slice process_tag(const struct process *process)
{
    return process->tag;
}

const struct process_config *process_config(const struct process *process)
{
    return &process->config;
}

bool process_has_pty(const struct process *process)
{
    return process->has_pty;
}

bool process_is_running(const struct process *process)
{
    return process->state == PROCESS_RUNNING;
}

const struct process_event *process_end_event(const struct process *process)
{
    return process->state == PROCESS_ENDED ? &process->end : NULL;
}

bool process_is_silent(const struct process *process)
{
    return process->outputs[0].watch == NULL && process->outputs[1].watch == NULL;
}

void process_subscribe(struct process *process, struct subscriber *subscriber)
{
    ENSURE(process->state != PROCESS_ENDED);
    subscriber_join(subscriber, &process->fanout);
}

bool process_signal(struct process *process, int signal_number)
{
    return process->state == PROCESS_RUNNING && kill(-(pid_t)process->pid, signal_number) == 0;
}

void process_resize(struct process *process, uint32_t cols, uint32_t rows)
{
    if (process->has_pty && process->outputs[0].watch != NULL)
        pty_resize(watch_fd(process->outputs[0].watch), cols, rows);
}

void process_write(struct process *process, struct input_job *job)
{
    input_queue_add(&process->input, job);
}

void process_close_input(struct process *process)
{
    input_queue_close(&process->input);
}
