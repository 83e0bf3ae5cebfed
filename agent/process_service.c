/* agent/process_service.c — see process_service.h. A call reads its request, does its method, and
 * is answered; it is freed by a task at the end of the turn, so that any of its callbacks may end
 * it.
 *
 *     READING ──▶ STREAMING (Start, Connect) ──▶ ANSWERED ──▶ freed
 *        └──────▶ WAITING (SendInput: for the pipe) ──▶┘
 */
#include "agent/process_service.h"

#include <signal.h>

#include "agent/gzip.h"
#include "agent/rpc.h"
#include "base/cursor.h"
#include "base/mem.h"
#include "connect/envelope.h"

enum { DISCARD_MAX_BYTES = 256 * 1024 };

enum call_state { CALL_READING, CALL_WAITING, CALL_STREAMING, CALL_ANSWERED };

struct process_service {
    struct loop *loop;
    struct process_service_options options;
    struct fanout_shared fanout;
    struct process_table *table;
    struct list calls;
};

struct call {
    struct process_service *service;
    struct list link;          /* in service->calls */
    struct exchange *exchange; /* NULL once it was reset */
    struct rpc rpc;
    enum call_state state;
    struct arena arena; /* of the decoded request */
    struct buf message; /* the request: whole, or (Connect unary) as it comes */
    struct envelope_reader reader;
    bool has_message;
    bool is_compressed; /* what `message` holds */
    bool request_ended;
    struct buf error;
    size_t discarded_bytes; /* of a request that goes on after its answer */
    struct timer deadline;
    struct timer linger;
    struct task reap;
    struct subscriber subscriber;
    bool was_dropped; /* as a slow subscriber */
    /* SendInput, StreamInput */
    struct input_job job;
    bool job_waits;
    enum input_kind input_kind; /* of what is in `pending` */
    struct buf writing;         /* what the job borrows */
    struct buf pending;         /* decoded behind it */
    size_t unconsumed_bytes;    /* of the request, until they are written */
    struct process *target;     /* StreamInput, after its start: a reference */
};

/* ---- the end of a call ---- */

static void detach(struct call *call)
{
    subscriber_leave(&call->subscriber);
    input_job_cancel(&call->job);
    call->job_waits = false;
    process_unref(&call->target);
    timer_cancel(&call->deadline);
}

static void call_free(struct call *call)
{
    detach(call);
    timer_cancel(&call->linger);
    task_cancel(&call->reap);
    exchange_release(&call->exchange);
    envelope_reader_deinit(&call->reader);
    buf_deinit(&call->message);
    buf_deinit(&call->error);
    buf_deinit(&call->writing);
    buf_deinit(&call->pending);
    arena_deinit(&call->arena);
    list_unlink(&call->link);
    mem_free(call);
}

static void on_reap(struct task *task)
{
    call_free(CONTAINER_OF(task, struct call, reap));
}

/* Is the answered call done with? The request should have ended as well, or the connection suffers
 * for it; but a client that just goes on gets only so much patience. */
static void settle(struct call *call)
{
    struct exchange *exchange = call->exchange;

    if (call->state != CALL_ANSWERED)
        return;
    if (exchange->is_dead || (exchange->out.len == 0 &&
                              (exchange->in_ended || call->discarded_bytes > DISCARD_MAX_BYTES)))
        task_defer(call->service->loop, &call->reap);
    else if (exchange->out.len == 0 && !timer_is_armed(&call->linger))
        timer_arm(&call->linger, call->service->options.linger_ms);
}

static void on_linger(struct timer *timer)
{
    struct call *call = CONTAINER_OF(timer, struct call, linger);

    if (!call->was_dropped && call->exchange->out.len > 0)
        return; /* it reads, if slowly; settle() arms again when all is out */
    if (call->exchange->out.len > 0)
        exchange_reset(call->exchange, RESET_CALM);
    task_defer(call->service->loop, &call->reap);
}

static void answered(struct call *call)
{
    detach(call);
    call->state = CALL_ANSWERED;
    buf_deinit(&call->pending);
    if (call->unconsumed_bytes > 0)
        exchange_consumed(call->exchange, call->unconsumed_bytes);
    call->unconsumed_bytes = 0;
    settle(call);
}

static void fail(struct call *call, enum connect_code code, struct slice words)
{
    if (call->state == CALL_ANSWERED)
        return;
    rpc_fail(&call->rpc, code, words);
    answered(call);
}

static void fail_text(struct call *call, enum connect_code code, const char *words)
{
    fail(call, code, slice_from_string(words));
}

static void reply(struct call *call, struct slice message)
{
    rpc_reply(&call->rpc, message);
    answered(call);
}

static void reply_empty(struct call *call)
{
    buf_clear(&call->message);
    process_empty_encode(call->rpc.codec, &call->message);
    reply(call, buf_slice(&call->message));
}

static void on_deadline(struct timer *timer)
{
    struct call *call = CONTAINER_OF(timer, struct call, deadline);
    const char *words = "deadline exceeded";

    if (call->state == CALL_STREAMING)
        words = call->rpc.method == METHOD_START ? "deadline exceeded: the process was killed"
                                                 : "deadline exceeded; the process goes on";
    fail_text(call, CONNECT_DEADLINE_EXCEEDED, words);
}

/* ---- Start, Connect ---- */

static void on_finished(struct subscriber *subscriber, enum connect_code code, const char *words)
{
    struct call *call = CONTAINER_OF(subscriber, struct call, subscriber);

    if (code != CONNECT_OK) {
        call->was_dropped = true;
        timer_arm(&call->linger, call->service->options.dropped_ms);
        fail_text(call, code, words);
        return;
    }
    rpc_finish(&call->rpc);
    answered(call);
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
        answered(call);
        return;
    }
    subscriber_send(subscriber, &start);
    if (end == NULL) {
        process_subscribe(process, subscriber);
        return;
    }
    subscriber_send(subscriber, end);
    rpc_finish(&call->rpc);
    answered(call);
}

static void do_start(struct call *call, const struct process_request *request)
{
    struct process *process;
    enum connect_code code = process_table_start(call->service->table, &request->start,
                                                 call->rpc.timeout_ms, &call->error, &process);

    if (code == CONNECT_OK)
        open_stream(call, process);
    else
        fail(call, code, buf_slice(&call->error));
}

/* NULL: the call has been answered with the reason. */
static struct process *find(struct call *call, const struct process_selector *selector)
{
    struct process *process = NULL;

    if (selector->has_pid == selector->has_tag) {
        fail_text(call, CONNECT_INVALID_ARGUMENT, "process must be selected by pid or by tag");
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
    fail(call, CONNECT_NOT_FOUND, buf_slice(&call->error));
    return NULL;
}

static void do_connect(struct call *call, const struct process_request *request)
{
    struct process *process = find(call, &request->selector);

    if (process != NULL)
        open_stream(call, process);
}

/* ---- the unary methods; all but List need a process that runs ---- */

static struct process *find_running(struct call *call, const struct process_selector *selector)
{
    struct process *process = find(call, selector);

    if (process == NULL || process_is_running(process))
        return process;
    fail_text(call, CONNECT_NOT_FOUND, "process has exited");
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
    reply(call, buf_slice(&message));
    buf_deinit(&message);
}

static void do_update(struct call *call, const struct process_request *request)
{
    struct process *process = find_running(call, &request->selector);

    if (process == NULL)
        return;
    if (request->has_pty && !process_has_pty(process)) {
        fail_text(call, CONNECT_FAILED_PRECONDITION, "process has no pty");
        return;
    }
    if (request->has_pty_size)
        process_resize(process, request->pty.cols, request->pty.rows);
    reply_empty(call);
}

static void do_send_signal(struct call *call, const struct process_request *request)
{
    if (request->signal != SIGNAL_SIGTERM && request->signal != SIGNAL_SIGKILL) {
        fail_text(call, CONNECT_UNIMPLEMENTED, "signal must be SIGNAL_SIGTERM or SIGNAL_SIGKILL");
        return;
    }

    struct process *process = find_running(call, &request->selector);

    if (process == NULL)
        return;
    if (process_signal(process, request->signal == SIGNAL_SIGTERM ? SIGTERM : SIGKILL))
        reply_empty(call);
    else
        fail_text(call, CONNECT_NOT_FOUND, "process has exited");
}

static void do_close_stdin(struct call *call, const struct process_request *request)
{
    struct process *process = find_running(call, &request->selector);

    if (process == NULL)
        return;
    if (process_has_pty(process)) {
        fail_text(call, CONNECT_FAILED_PRECONDITION,
                  "process has a pty: send Ctrl-D (byte 4) as pty input instead");
        return;
    }
    process_close_input(process);
    reply_empty(call);
}

/* ---- input ---- */

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
        fail_text(call, kind == INPUT_NONE ? CONNECT_INVALID_ARGUMENT : CONNECT_FAILED_PRECONDITION,
                  words);
    return words == NULL;
}

static void write_pending(struct call *call);

static void on_input_done(struct input_job *job, enum connect_code code, const char *words)
{
    struct call *call = CONTAINER_OF(job, struct call, job);

    call->job_waits = false;
    if (code != CONNECT_OK)
        fail_text(call, code, words);
    else if (call->rpc.method == METHOD_SEND_INPUT)
        reply_empty(call);
    else
        write_pending(call);
}

static void do_send_input(struct call *call, const struct process_request *request)
{
    struct process *process = find_running(call, &request->selector);

    if (process == NULL || !input_suits(call, process, request->input.kind))
        return;
    call->state = CALL_WAITING;
    call->job.left = request->input.bytes;
    call->job_waits = true;
    process_write(process, &call->job);
}

/* StreamInput: gives the next bytes to the process; lets more of the request come; answers after
 * the last. */
static void write_pending(struct call *call)
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
        reply_empty(call);
}

static void stream_start(struct call *call, const struct process_request *request)
{
    if (call->target != NULL) {
        fail_text(call, CONNECT_INVALID_ARGUMENT, "start was sent twice");
        return;
    }

    struct process *process = find_running(call, &request->selector);

    if (process != NULL)
        call->target = process_ref(process);
}

static void stream_message(struct call *call, const struct process_request *request)
{
    switch (request->stream_input) {
    case STREAM_INPUT_START:
        stream_start(call, request);
        break;
    case STREAM_INPUT_DATA:
        if (call->target == NULL)
            fail_text(call, CONNECT_INVALID_ARGUMENT, "data was sent before start");
        else if (input_suits(call, call->target, request->input.kind))
            buf_append(&call->pending, request->input.bytes);
        break;
    case STREAM_INPUT_KEEPALIVE:
        break;
    default:
        fail_text(call, CONNECT_INVALID_ARGUMENT, "message must be start, data or keepalive");
    }
}

/* ---- requests ---- */

/* False: the call has been answered. `into` holds the inflated message as long as it is used. */
static bool inflate_message(struct call *call, bool is_compressed, struct slice *message,
                            struct buf *into)
{
    if (!is_compressed)
        return true;
    if (!call->rpc.is_gzip) {
        fail_text(call, CONNECT_INVALID_ARGUMENT,
                  "message is compressed, but no encoding was named");
        return false;
    }

    enum status status = gzip_inflate(*message, call->service->options.message_bytes, into);

    if (status == STATUS_OK) {
        *message = buf_slice(into);
        return true;
    }
    if (status == STATUS_BODY_TOO_LARGE)
        fail_text(call, CONNECT_RESOURCE_EXHAUSTED, "message is too large");
    else
        fail_text(call, CONNECT_INVALID_ARGUMENT, "message is not valid gzip");
    return false;
}

/* False: the call has been answered. */
static bool decode(struct call *call, struct slice message, struct arena *arena,
                   struct process_request *out_request)
{
    buf_clear(&call->error);
    if (process_request_decode(call->rpc.method, call->rpc.codec, message, arena, out_request,
                               &call->error) == STATUS_OK)
        return true;
    if (call->error.len == 0)
        buf_append(&call->error, SLICE("message cannot be decoded"));
    fail(call, CONNECT_INVALID_ARGUMENT, buf_slice(&call->error));
    return false;
}

static void run_method(struct call *call)
{
    static void (*const methods[PROCESS_METHOD_COUNT])(struct call *,
                                                       const struct process_request *) = {
        [METHOD_START] = do_start,
        [METHOD_CONNECT] = do_connect,
        [METHOD_LIST] = do_list,
        [METHOD_UPDATE] = do_update,
        [METHOD_SEND_INPUT] = do_send_input,
        [METHOD_SEND_SIGNAL] = do_send_signal,
        [METHOD_CLOSE_STDIN] = do_close_stdin,
    };
    struct slice message = buf_slice(&call->message);
    struct process_request request = { 0 };
    struct buf inflated = { 0 };

    if (inflate_message(call, call->is_compressed, &message, &inflated) &&
        decode(call, message, &call->arena, &request))
        methods[call->rpc.method](call, &request);
    buf_deinit(&inflated);
}

static void run_stream_message(struct call *call, bool is_compressed, struct slice message)
{
    struct process_request request = { 0 };
    struct buf inflated = { 0 };
    struct arena arena;

    arena_init(&arena, NULL, 0);
    if (inflate_message(call, is_compressed, &message, &inflated) &&
        decode(call, message, &arena, &request))
        stream_message(call, &request);
    arena_deinit(&arena);
    buf_deinit(&inflated);
}

/* One whole message of an enveloped request. CLOSED: the call has been answered, look no further.
 */
static enum status on_message(void *arg, uint8_t flags, struct slice message)
{
    struct call *call = arg;
    bool is_compressed = (flags & ENVELOPE_COMPRESSED) != 0;

    if ((flags & ENVELOPE_END_STREAM) != 0)
        fail_text(call, CONNECT_INVALID_ARGUMENT, "a request has no end-of-stream message");
    else if (call->rpc.method == METHOD_STREAM_INPUT)
        run_stream_message(call, is_compressed, message);
    else if (call->has_message)
        fail_text(call, CONNECT_INVALID_ARGUMENT, "request holds more than one message");
    else
        buf_append(&call->message, message);
    call->has_message = true;
    call->is_compressed = is_compressed;
    return call->state == CALL_ANSWERED ? STATUS_CLOSED : STATUS_OK;
}

static void bad_envelope(struct call *call, enum status status, struct slice bytes)
{
    if (status == STATUS_BODY_TOO_LARGE)
        fail_text(call, CONNECT_RESOURCE_EXHAUSTED, "message is too large");
    else if (!call->has_message && bytes.ptr[0] == '{')
        fail_text(call, CONNECT_INVALID_ARGUMENT,
                  "protocol error: each message needs a prefix of 5 bytes (flags, length); "
                  "this one starts with '{'");
    else
        fail_text(call, CONNECT_INVALID_ARGUMENT, "protocol error: bad envelope");
}

static void read_enveloped(struct call *call, struct slice bytes)
{
    enum status status = envelope_reader_feed(&call->reader, bytes, on_message, call);

    if (status != STATUS_OK)
        bad_envelope(call, status, bytes); /* nothing happens when it is answered already */
}

static void read_unary(struct call *call, struct slice bytes)
{
    if (call->message.len + bytes.len > call->service->options.message_bytes)
        fail_text(call, CONNECT_RESOURCE_EXHAUSTED, "message is too large");
    else
        buf_append(&call->message, bytes);
}

static void cut_short(struct call *call)
{
    struct slice held = buf_slice(&call->reader.held);

    if (held.len < ENVELOPE_HEAD_BYTES) {
        fail_text(call, CONNECT_INVALID_ARGUMENT, "protocol error: incomplete envelope");
        return;
    }

    struct cursor cursor = cursor_over(slice_skip(held, 1));

    buf_printf(&call->error,
               "protocol error: promised %u bytes in enveloped message, got %zu bytes",
               cursor_u32(&cursor), held.len - ENVELOPE_HEAD_BYTES);
    fail(call, CONNECT_INVALID_ARGUMENT, buf_slice(&call->error));
}

static void request_ended(struct call *call)
{
    call->request_ended = true;
    if (call->state != CALL_READING)
        return;
    if (call->rpc.protocol == RPC_CONNECT_UNARY) {
        call->is_compressed = call->rpc.is_gzip;
        run_method(call);
    } else if (!envelope_reader_is_at_edge(&call->reader))
        cut_short(call);
    else if (!call->has_message)
        fail_text(call, CONNECT_INVALID_ARGUMENT, "request holds no message");
    else if (call->rpc.method != METHOD_STREAM_INPUT)
        run_method(call);
    else if (call->target == NULL)
        fail_text(call, CONNECT_INVALID_ARGUMENT, "request holds no start message");
    else
        write_pending(call);
}

/* ---- events of the exchange ---- */

static void on_unexpected_head(struct exchange *exchange, const struct head *head)
{
    (void)exchange;
    (void)head; /* client side only */
}

static void on_body(struct exchange *exchange, struct slice bytes)
{
    struct call *call = exchange->owner;

    if (call->state == CALL_READING && call->rpc.protocol == RPC_CONNECT_UNARY)
        read_unary(call, bytes);
    else if (call->state == CALL_READING)
        read_enveloped(call, bytes);
    else
        call->discarded_bytes += bytes.len;
    if (call->state == CALL_READING && call->rpc.method == METHOD_STREAM_INPUT) {
        call->unconsumed_bytes += bytes.len;
        write_pending(call);
        return;
    }
    exchange_consumed(exchange, bytes.len);
    settle(call);
}

static void on_end(struct exchange *exchange, const struct fields *trailers)
{
    struct call *call = exchange->owner;
    (void)trailers;

    request_ended(call);
    settle(call);
}

static void on_drained(struct exchange *exchange, size_t size_bytes)
{
    struct call *call = exchange->owner;
    (void)size_bytes;

    if (call->state == CALL_STREAMING)
        subscriber_drained(&call->subscriber);
    if (call->was_dropped)
        timer_arm(&call->linger, call->service->options.dropped_ms);
    settle(call);
}

static void on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct call *call = exchange->owner;
    (void)reason;

    detach(call);
    timer_cancel(&call->linger);
    call->state = CALL_ANSWERED;
    exchange_release(&call->exchange);
    task_defer(call->service->loop, &call->reap);
}

static const struct exchange_events call_events = {
    .on_interim = on_unexpected_head,
    .on_head = on_unexpected_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_drained = on_drained,
    .on_reset = on_reset,
};

/* ---- the service ---- */

static struct call *call_create(struct process_service *service, struct exchange *exchange)
{
    struct call *call = mem_zeroed(sizeof(*call));

    call->service = service;
    call->exchange = exchange;
    arena_init(&call->arena, NULL, 0);
    envelope_reader_init(&call->reader, service->options.message_bytes);
    timer_init(&call->deadline, service->loop, on_deadline);
    timer_init(&call->linger, service->loop, on_linger);
    task_init(&call->reap, on_reap);
    subscriber_init(&call->subscriber, service->loop, &service->fanout, 0, on_finished);
    input_job_init(&call->job, on_input_done);
    list_append(&service->calls, &call->link);
    exchange_set_owner(exchange, &call_events, call);
    return call;
}

void process_service_call(struct process_service *service, enum process_method method,
                          struct exchange *exchange)
{
    struct call *call = call_create(service, exchange);
    unsigned refusal = rpc_classify(exchange, method, &call->rpc);
    enum connect_code code;

    if (refusal != 0) {
        rpc_refuse(exchange, method, refusal);
        answered(call);
        return;
    }
    code = rpc_read_fields(&call->rpc, &call->error);
    if (code != CONNECT_OK) {
        fail(call, code, buf_slice(&call->error));
        return;
    }
    if (call->rpc.timeout_ms > 0)
        timer_arm(&call->deadline, call->rpc.timeout_ms);
    if (exchange->in_ended)
        request_ended(call);
}

void process_service_options_init(struct process_service_options *options)
{
    *options = (struct process_service_options){
        .message_bytes = 16 << 20,
        .subscriber_bytes = 4 << 20,
        .high_bytes = 64 << 10,
        .low_bytes = 32 << 10,
        .linger_ms = 5000,
        .dropped_ms = 10000,
        .table = { .max_running = 8192, .retain_ms = 30000, .max_ended = 8192 },
        .spawn = { .default_cwd = "/" },
    };
}

struct process_service *process_service_create(struct loop *loop,
                                               const struct process_service_options *options)
{
    struct process_service *service = mem_zeroed(sizeof(*service));

    service->loop = loop;
    list_init(&service->calls);
    service->options = *options;
    service->fanout.limit_bytes = options->subscriber_bytes;
    service->fanout.high_bytes = options->high_bytes;
    service->fanout.low_bytes = options->low_bytes;

    const struct process_options process_options = {
        .loop = loop,
        .fanout = &service->fanout,
        .spawn = options->spawn,
    };

    service->table = process_table_create(&options->table, &process_options);
    return service;
}

void process_service_destroy(struct process_service **service)
{
    struct process_service *s = *service;

    if (s == NULL)
        return;
    while (!list_is_empty(&s->calls)) { /* reset, waiting for the end of the turn */
        struct call *call = LIST_FIRST(&s->calls, struct call, link);

        ENSURE(call->exchange == NULL || call->state == CALL_ANSWERED);
        call_free(call);
    }
    process_table_destroy(&s->table);
    fanout_shared_deinit(&s->fanout);
    mem_free(s);
    *service = NULL;
}

static void signal_one(struct process *process, void *arg)
{
    (void)process_signal(process, *(int *)arg);
}

void process_service_signal_all(struct process_service *service, int signal_number)
{
    process_table_each(service->table, signal_one, &signal_number);
}

size_t process_service_running(const struct process_service *service)
{
    return process_table_running(service->table);
}
