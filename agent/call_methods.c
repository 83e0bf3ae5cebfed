/* agent/call_methods.c — what each method does with its request; input is in call_input.c. */
#include <signal.h>

#include "agent/call.h"

/* ---- Start, Connect ---- */

void call_on_finished(struct subscriber *subscriber, enum connect_code code, const char *words)
{
    struct call *call = CONTAINER_OF(subscriber, struct call, subscriber);

    if (code != CONNECT_OK) {
        call->was_dropped = true;
        timer_arm(&call->linger, call->service->options.dropped_ms);
        call_fail_text(call, code, words);
        return;
    }
    rpc_finish(&call->rpc);
    call_answered(call);
}

static void open_stream(struct call *call, struct process *process)
{
    const struct process_event start = { .kind = EVENT_START, .pid = process_pid(process) };
    const struct process_event *end = process_end_event(process);
    struct subscriber *subscriber = &call->subscriber;

    subscriber->exchange = call->exchange;
    subscriber->codec = call->rpc.codec;
    subscriber->interval_ms = call->rpc.keepalive_ms;
    call->state = CALL_STREAMING;
    rpc_open_stream(&call->rpc);
    if (call->exchange->is_dead) { /* the codec could not even send the head */
        call_answered(call);
        return;
    }
    subscriber_send(subscriber, &start);
    if (end == NULL) {
        process_subscribe(process, subscriber);
        return;
    }
    subscriber_send(subscriber, end);
    rpc_finish(&call->rpc);
    call_answered(call);
}

static void do_start(struct call *call, const struct process_request *request)
{
    struct process *process;
    enum connect_code code = process_table_start(call->service->table, &request->start,
                                                 call->rpc.timeout_ms, &call->error, &process);

    if (code == CONNECT_OK)
        open_stream(call, process);
    else
        call_fail(call, code, buf_slice(&call->error));
}

/* NULL: the call has been answered with the reason. */
static struct process *find(struct call *call, const struct process_selector *selector)
{
    struct process *process = NULL;

    if (selector->has_pid == selector->has_tag) {
        call_fail_text(call, CONNECT_INVALID_ARGUMENT, "process must be selected by pid or by tag");
        return NULL;
    }
    process = process_table_find(call->service->table, selector);
    if (process != NULL)
        return process;
    if (selector->has_pid) {
        buf_printf(&call->error, "no process with pid %u", selector->pid);
    } else {
        buf_append(&call->error, SLICE("no process with tag \""));
        buf_append(&call->error, slice_first(selector->tag, 200));
        buf_append(&call->error, SLICE("\""));
    }
    call_fail(call, CONNECT_NOT_FOUND, buf_slice(&call->error));
    return NULL;
}

static void do_connect(struct call *call, const struct process_request *request)
{
    struct process *process = find(call, &request->selector);

    if (process != NULL)
        open_stream(call, process);
}

/* ---- the unary methods; all but List need a process that runs ---- */

struct process *call_find_running(struct call *call, const struct process_selector *selector)
{
    struct process *process = find(call, selector);

    if (process == NULL || process_is_running(process))
        return process;
    call_fail_text(call, CONNECT_NOT_FOUND, "process has exited");
    return NULL;
}

struct listing {
    struct process_info *infos;
    size_t count;
};

static void add_info(struct process *process, void *arg)
{
    struct listing *listing = arg;

    listing->infos[listing->count++] = (struct process_info){
        .config = *process_config(process),
        .pid = process_pid(process),
        .tag = process_tag(process),
    };
}

static void do_list(struct call *call, const struct process_request *request)
{
    struct process_table *table = call->service->table;
    struct listing listing = {
        .infos = arena_alloc(&call->arena, process_table_running(table) * sizeof(*listing.infos)),
    };
    struct buf message = { 0 };
    (void)request;

    process_table_each(table, add_info, &listing);
    process_list_encode(call->rpc.codec, listing.infos, listing.count, &message);
    call_reply(call, buf_slice(&message));
    buf_deinit(&message);
}

static void do_update(struct call *call, const struct process_request *request)
{
    struct process *process = call_find_running(call, &request->selector);

    if (process == NULL)
        return;
    if (request->has_pty && !process_has_pty(process)) {
        call_fail_text(call, CONNECT_FAILED_PRECONDITION, "process has no pty");
        return;
    }
    if (request->has_pty_size)
        process_resize(process, request->pty.cols, request->pty.rows);
    call_reply_empty(call);
}

static void do_send_signal(struct call *call, const struct process_request *request)
{
    if (request->signal != SIGNAL_SIGTERM && request->signal != SIGNAL_SIGKILL) {
        call_fail_text(call, CONNECT_UNIMPLEMENTED,
                       "signal must be SIGNAL_SIGTERM or SIGNAL_SIGKILL");
        return;
    }

    struct process *process = call_find_running(call, &request->selector);

    if (process == NULL)
        return;
    if (process_signal(process, request->signal == SIGNAL_SIGTERM ? SIGTERM : SIGKILL))
        call_reply_empty(call);
    else
        call_fail_text(call, CONNECT_NOT_FOUND, "process has exited");
}

static void do_close_stdin(struct call *call, const struct process_request *request)
{
    struct process *process = call_find_running(call, &request->selector);

    if (process == NULL)
        return;
    if (process_has_pty(process)) {
        call_fail_text(call, CONNECT_FAILED_PRECONDITION,
                       "process has a pty: send Ctrl-D (byte 4) as pty input instead");
        return;
    }
    process_close_input(process);
    call_reply_empty(call);
}

/* ---- all of them ---- */

void call_run(struct call *call, const struct process_request *request)
{
    static void (*const methods[PROCESS_METHOD_COUNT])(struct call *,
                                                       const struct process_request *) = {
        [METHOD_START] = do_start,
        [METHOD_CONNECT] = do_connect,
        [METHOD_LIST] = do_list,
        [METHOD_UPDATE] = do_update,
        [METHOD_SEND_INPUT] = call_send_input,
        [METHOD_SEND_SIGNAL] = do_send_signal,
        [METHOD_CLOSE_STDIN] = do_close_stdin,
    };

    methods[call->rpc.method](call, request);
}
