/* agent/call_input.c — SendInput and StreamInput: bytes of a request into a process, at the process's pace. */
#include "agent/call.h"

/* NULL, or why this kind of input does not suit the process. */
static const char *input_mismatch(const struct process *process, enum input_kind kind)
{
    if (kind == INPUT_NONE)
        return "input must be stdin or pty";
    if (process_has_pty(process) && kind == INPUT_STDIN)
        return "process has a pty: send pty input, not stdin";
    if (!process_has_pty(process) && kind == INPUT_PTY)
        return "process has no pty: send stdin, not pty input";
    return NULL;
}

static bool input_suits(struct call *call, const struct process *process, enum input_kind kind)
{
    const char *words = input_mismatch(process, kind);

    if (words != NULL)
        call_fail_text(call,
                       kind == INPUT_NONE ? CONNECT_INVALID_ARGUMENT : CONNECT_FAILED_PRECONDITION,
                       words);
    return words == NULL;
}

void call_on_input_done(struct input_job *job, enum connect_code code, const char *words)
{
    struct call *call = CONTAINER_OF(job, struct call, job);

    call->job_waits = false;
    if (code != CONNECT_OK)
        call_fail_text(call, code, words);
    else if (call->rpc.method == METHOD_SEND_INPUT)
        call_reply_empty(call);
    else
        call_write_pending(call);
}

void call_send_input(struct call *call, const struct process_request *request)
{
    struct process *process = call_find_running(call, &request->selector);

    if (process == NULL || !input_suits(call, process, request->input.kind))
        return;
    call->state = CALL_WAITING;
    call->job.left = request->input.bytes;
    call->job_waits = true;
    process_write(process, &call->job);
}

/* StreamInput: gives the next bytes to the process; lets more of the request come; answers after
 * the last. */
void call_write_pending(struct call *call)
{
    if (call->state == CALL_ANSWERED || call->job_waits)
        return;
    if (call->pending.len > 0) {
        struct buf written = call->writing;

        call->writing = call->pending;
        call->pending = written;
        buf_clear(&call->pending);
        call->job.left = buf_slice(&call->writing);
        call->job_waits = true;
        process_write(call->target, &call->job);
        return; /* on_input_done comes back here */
    }
    if (call->unconsumed_bytes > 0) {
        size_t count = call->unconsumed_bytes;

        call->unconsumed_bytes = 0;
        exchange_consumed(call->exchange, count);
    }
    if (call->request_ended)
        call_reply_empty(call);
}

static void stream_start(struct call *call, const struct process_request *request)
{
    if (call->target != NULL) {
        call_fail_text(call, CONNECT_INVALID_ARGUMENT, "start was sent twice");
        return;
    }

    struct process *process = call_find_running(call, &request->selector);

    if (process != NULL)
        call->target = process_ref(process);
}

void call_stream_message(struct call *call, const struct process_request *request)
{
    switch (request->stream_input) {
    case STREAM_INPUT_START:
        stream_start(call, request);
        break;
    case STREAM_INPUT_DATA:
        if (call->target == NULL)
            call_fail_text(call, CONNECT_INVALID_ARGUMENT, "data was sent before start");
        else if (input_suits(call, call->target, request->input.kind))
            buf_append(&call->pending, request->input.bytes);
        break;
    case STREAM_INPUT_KEEPALIVE:
        break;
    default:
        call_fail_text(call, CONNECT_INVALID_ARGUMENT, "message must be start, data or keepalive");
    }
}
