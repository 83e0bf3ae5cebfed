/* agent/call.c — the life of a call; see call.h. */
#include "agent/call.h"

#include "agent/gzip.h"
#include "base/cursor.h"
#include "base/mem.h"

enum { DISCARD_MAX_BYTES = 256 * 1024 };

/* ---- the end of a call ---- */

static void detach(struct call *call)
{
    subscriber_leave(&call->subscriber);
    input_job_cancel(&call->job);
    call->job_waits = false;
    process_unref(&call->target);
    timer_cancel(&call->deadline);
}

void call_free(struct call *call)
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

void call_answered(struct call *call)
{
    detach(call);
    call->state = CALL_ANSWERED;
    buf_deinit(&call->pending);
    if (call->unconsumed_bytes > 0)
        exchange_consumed(call->exchange, call->unconsumed_bytes);
    call->unconsumed_bytes = 0;
    settle(call);
}

void call_fail(struct call *call, enum connect_code code, struct slice words)
{
    if (call->state == CALL_ANSWERED)
        return;
    rpc_fail(&call->rpc, code, words);
    call_answered(call);
}

void call_fail_text(struct call *call, enum connect_code code, const char *words)
{
    call_fail(call, code, slice_from_string(words));
}

void call_reply(struct call *call, struct slice message)
{
    if (call->state == CALL_ANSWERED)
        return;
    rpc_reply(&call->rpc, message);
    call_answered(call);
}

void call_reply_empty(struct call *call)
{
    buf_clear(&call->message);
    process_empty_encode(call->rpc.codec, &call->message);
    call_reply(call, buf_slice(&call->message));
}

static void on_deadline(struct timer *timer)
{
    struct call *call = CONTAINER_OF(timer, struct call, deadline);
    const char *words = "deadline exceeded";

    if (call->state == CALL_STREAMING)
        words = call->rpc.method == METHOD_START ? "deadline exceeded: the process was killed"
                                                 : "deadline exceeded; the process goes on";
    call_fail_text(call, CONNECT_DEADLINE_EXCEEDED, words);
}

/* ---- requests ---- */

/* False: the call has been answered. `into` holds the inflated message as long as it is used. */
static bool inflate_message(struct call *call, bool is_compressed, struct slice *message,
                            struct buf *into)
{
    if (!is_compressed)
        return true;
    if (!call->rpc.is_gzip) {
        call_fail_text(call, CONNECT_INVALID_ARGUMENT,
                       "message is compressed, but no encoding was named");
        return false;
    }

    enum status status = gzip_inflate(*message, call->service->options.message_bytes, into);

    if (status == STATUS_OK) {
        *message = buf_slice(into);
        return true;
    }
    if (status == STATUS_BODY_TOO_LARGE)
        call_fail_text(call, CONNECT_RESOURCE_EXHAUSTED, "message is too large");
    else
        call_fail_text(call, CONNECT_INVALID_ARGUMENT, "message is not valid gzip");
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
    call_fail(call, CONNECT_INVALID_ARGUMENT, buf_slice(&call->error));
    return false;
}

static void run_method(struct call *call)
{
    struct slice message = buf_slice(&call->message);
    struct process_request request = { 0 };
    struct buf inflated = { 0 };

    if (inflate_message(call, call->is_compressed, &message, &inflated) &&
        decode(call, message, &call->arena, &request))
        call_run(call, &request);
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
        call_stream_message(call, &request);
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
        call_fail_text(call, CONNECT_INVALID_ARGUMENT, "a request has no end-of-stream message");
    else if (call->rpc.method == METHOD_STREAM_INPUT)
        run_stream_message(call, is_compressed, message);
    else if (call->has_message)
        call_fail_text(call, CONNECT_INVALID_ARGUMENT, "request holds more than one message");
    else
        buf_append(&call->message, message);
    call->has_message = true;
    call->is_compressed = is_compressed;
    return call->state == CALL_ANSWERED ? STATUS_CLOSED : STATUS_OK;
}

static void bad_envelope(struct call *call, enum status status, struct slice bytes)
{
    if (status == STATUS_BODY_TOO_LARGE)
        call_fail_text(call, CONNECT_RESOURCE_EXHAUSTED, "message is too large");
    else if (!call->has_message && bytes.ptr[0] == '{')
        call_fail_text(call, CONNECT_INVALID_ARGUMENT,
                       "protocol error: each message needs a prefix of 5 bytes (flags, length); "
                       "this one starts with '{'");
    else
        call_fail_text(call, CONNECT_INVALID_ARGUMENT, "protocol error: bad envelope");
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
        call_fail_text(call, CONNECT_RESOURCE_EXHAUSTED, "message is too large");
    else
        buf_append(&call->message, bytes);
}

static void cut_short(struct call *call)
{
    struct slice held = buf_slice(&call->reader.held);

    if (held.len < ENVELOPE_HEAD_BYTES) {
        call_fail_text(call, CONNECT_INVALID_ARGUMENT, "protocol error: incomplete envelope");
        return;
    }

    struct cursor cursor = cursor_over(slice_skip(held, 1));

    buf_printf(&call->error,
               "protocol error: promised %u bytes in enveloped message, got %zu bytes",
               cursor_u32(&cursor), held.len - ENVELOPE_HEAD_BYTES);
    call_fail(call, CONNECT_INVALID_ARGUMENT, buf_slice(&call->error));
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
        call_fail_text(call, CONNECT_INVALID_ARGUMENT, "request holds no message");
    else if (call->rpc.method != METHOD_STREAM_INPUT)
        run_method(call);
    else if (call->target == NULL)
        call_fail_text(call, CONNECT_INVALID_ARGUMENT, "request holds no start message");
    else
        call_write_pending(call);
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
        call_write_pending(call);
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

/* ---- start ---- */

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
    subscriber_init(&call->subscriber, service->loop, &service->fanout, 0, call_on_finished);
    input_job_init(&call->job, call_on_input_done);
    list_append(&service->calls, &call->link);
    exchange_set_owner(exchange, &call_events, call);
    return call;
}

void call_start(struct process_service *service, enum process_method method,
                struct exchange *exchange)
{
    struct call *call = call_create(service, exchange);
    unsigned refusal = rpc_classify(exchange, method, &call->rpc);
    enum connect_code code;

    if (refusal != 0) {
        rpc_refuse(exchange, method, refusal);
        call_answered(call);
        return;
    }
    code = rpc_read_fields(&call->rpc, &call->error);
    if (code != CONNECT_OK) {
        call_fail(call, code, buf_slice(&call->error));
        return;
    }
    if (call->rpc.timeout_ms > 0)
        timer_arm(&call->deadline, call->rpc.timeout_ms);
    if (exchange->in_ended)
        request_ended(call);
}
