/* tests/unit/agent/agent_fixture.c — see agent_fixture.h. */
#include "agent_fixture.h"

#include <signal.h>
#include <time.h>

#include "base/cursor.h"
#include "base/mem.h"

uint64_t fixture_now_ms(void)
{
    struct clock clock;

    clock_refresh(&clock);
    return clock.now_ms;
}

void run_for(struct fixture *f, uint64_t ms)
{
    uint64_t until_ms = fixture_now_ms() + ms;

    while (fixture_now_ms() < until_ms)
        loop_turn(f->loop, 5);
}

/* ---- the client's connection ---- */

static void on_capacity(void *owner)
{
    (void)owner;
}

static void on_closing(void *owner, enum status reason)
{
    (void)owner;
    (void)reason;
}

static void on_closed(void *owner)
{
    struct fixture *f = owner;

    http_client_destroy(&f->client);
}

static const struct http_client_events client_events = {
    .on_capacity = on_capacity,
    .on_closing = on_closing,
    .on_closed = on_closed,
};

static void on_open(void *owner, enum status status)
{
    struct fixture *f = owner;

    assert_int_equal(status, STATUS_OK);
    f->has_conn = true;
}

static void on_nothing(void *owner)
{
    (void)owner;
}

static const struct conn_events opening_events = {
    .on_open = on_open,
    .on_readable = on_nothing,
    .on_writable = on_nothing,
};

void fixture_connect(struct fixture *f, bool is_h1)
{
    const struct conn_connect_options options = { .server_name = SLICE_EMPTY, .timeout_ms = 5000 };
    struct conn *conn =
        conn_connect_start(f->loop, guest_agent_address(f->agent), &options, &opening_events, f);

    fixture_disconnect(f);
    f->has_conn = false;
    f->is_h1 = is_h1;
    WAIT_FOR(f, f->has_conn);
    f->client = is_h1 ? h1_client_create(conn, &f->limits, &client_events, f)
                      : h2_client_create(conn, &f->limits, &client_events, f);
}

void fixture_disconnect(struct fixture *f)
{
    http_client_destroy(&f->client);
}

void fixture_start(struct fixture *f, void (*tune)(struct guest_agent_options *options))
{
    struct guest_agent_options options;

    (void)signal(SIGPIPE, SIG_IGN);
    guest_agent_options_init(&options);
    assert_int_equal(address_parse(SLICE("127.0.0.1:0"), &options.listen), STATUS_OK);
    options.service.spawn.default_cwd = "/tmp";
    if (tune != NULL)
        tune(&options);
    http_limits_init(&f->limits);
    arena_init(&f->arena, NULL, 0);
    assert_int_equal(loop_create(&f->loop), STATUS_OK);
    assert_int_equal(guest_agent_create(f->loop, &options, &f->agent), STATUS_OK);
    fixture_connect(f, false);
}

void fixture_stop(struct fixture *f)
{
    fixture_disconnect(f);
    guest_agent_destroy(&f->agent);
    loop_turn(f->loop, 0);
    loop_destroy(&f->loop);
    arena_deinit(&f->arena);
}

int fixture_setup(void **state)
{
    struct fixture *f = mem_zeroed(sizeof(*f));

    fixture_start(f, NULL);
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    fixture_stop(*state);
    mem_free(*state);
    return 0;
}

/* ---- events ---- */

static void take_output(struct rpc_test *t, struct buf *into, struct slice bytes)
{
    t->output_bytes += bytes.len;
    if (!t->discard_output)
        buf_append(into, bytes);
}

static void take_event(struct rpc_test *t, const struct process_event *event)
{
    t->event_count++;
    switch (event->kind) {
    case EVENT_START:
        t->start_count++;
        t->started_first = t->event_count == 1;
        t->pid = event->pid;
        break;
    case EVENT_STDOUT:
        take_output(t, &t->out, event->bytes);
        break;
    case EVENT_STDERR:
        take_output(t, &t->err, event->bytes);
        break;
    case EVENT_PTY:
        take_output(t, &t->pty, event->bytes);
        break;
    case EVENT_KEEPALIVE:
        t->keepalive_count++;
        break;
    case EVENT_END:
        t->end_count++;
        t->exit_code = event->exit_code;
        t->exited = event->exited;
        buf_append(&t->end_status, event->status);
        break;
    default:
        fail_msg("event of no kind");
    }
}

static enum status on_message(void *arg, uint8_t flags, struct slice message)
{
    struct rpc_test *t = arg;
    struct process_event event = { 0 };
    struct arena arena;

    arena_init(&arena, NULL, 0);
    if ((flags & ENVELOPE_END_STREAM) != 0)
        buf_append(&t->end_stream, message);
    else if (message.len <= 2 ||
             process_event_decode(t->codec, message, &arena, &event) != STATUS_OK ||
             event.kind == EVENT_NONE)
        buf_append(&t->message, message);
    else
        take_event(t, &event);
    arena_deinit(&arena);
    return STATUS_OK;
}

/* ---- the exchange ---- */

static void copy_field(const struct head *head, const char *name, struct buf *into)
{
    for (size_t i = 0; i < head->fields.count; i++)
        if (slice_equal(head->fields.items[i].name, slice_from_string(name)))
            buf_append(into, head->fields.items[i].value);
}

static void on_interim(struct exchange *exchange, const struct head *head)
{
    (void)exchange;
    (void)head;
}

static void on_head(struct exchange *exchange, const struct head *head)
{
    struct rpc_test *t = exchange->owner;

    t->status = head->status;
    copy_field(head, "content-type", &t->content_type);
    copy_field(head, "allow", &t->allow);
    copy_field(head, "accept-post", &t->accept_post);
    copy_field(head, "grpc-status", &t->grpc_status);
    copy_field(head, "grpc-message", &t->grpc_message);
    t->is_ended = exchange->in_ended;
}

/* gRPC-Web has its trailers in a last frame of flag 0x80, which goes to `body`. */
static void take_web(struct rpc_test *t, struct slice bytes)
{
    buf_append(&t->web, bytes);
    while (t->web.len >= ENVELOPE_HEAD_BYTES) {
        struct slice all = buf_slice(&t->web);
        struct cursor in = cursor_over(all);
        uint8_t flags = cursor_u8(&in);
        size_t len = ENVELOPE_HEAD_BYTES + (size_t)cursor_u32(&in);

        if (all.len < len)
            return;
        if (flags == 0x80)
            buf_append(&t->body, slice_first(all, len));
        else
            assert_int_equal(envelope_reader_feed(&t->reader, slice_first(all, len), on_message, t),
                             STATUS_OK);
        buf_consume(&t->web, len);
    }
}

static void on_body(struct exchange *exchange, struct slice bytes)
{
    struct rpc_test *t = exchange->owner;

    if (t->is_web)
        take_web(t, bytes);
    else if (t->is_stream)
        assert_int_equal(envelope_reader_feed(&t->reader, bytes, on_message, t), STATUS_OK);
    else
        buf_append(&t->body, bytes);
    if (t->is_paused)
        t->held_bytes += bytes.len;
    else
        exchange_consumed(exchange, bytes.len);
}

static void on_end(struct exchange *exchange, const struct fields *trailers)
{
    struct rpc_test *t = exchange->owner;
    const struct head as_head = { .fields = *trailers };

    copy_field(&as_head, "grpc-status", &t->grpc_status);
    copy_field(&as_head, "grpc-message", &t->grpc_message);
    t->is_ended = true;
}

static void on_drained(struct exchange *exchange, size_t size_bytes)
{
    (void)exchange;
    (void)size_bytes;
}

static void on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct rpc_test *t = exchange->owner;
    (void)reason;

    t->was_reset = true;
}

static const struct exchange_events test_events = {
    .on_interim = on_interim,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_drained = on_drained,
    .on_reset = on_reset,
};

struct rpc_test *rpc_new(void)
{
    return mem_zeroed(sizeof(struct rpc_test));
}

void rpc_free(struct rpc_test **t)
{
    rpc_close(*t);
    mem_free(*t);
    *t = NULL;
}

void rpc_open(struct fixture *f, struct rpc_test *t, const char *method, const char *type,
              const char *const *fields)
{
    struct head head = { .method = SLICE("POST"),
                         .scheme = SLICE("http"),
                         .authority = SLICE("agent.test"),
                         .protocol = SLICE_EMPTY,
                         .content_length = CONTENT_LENGTH_UNKNOWN };

    t->f = f;
    t->codec = strstr(type, "json") != NULL ? MESSAGE_JSON : MESSAGE_PROTO;
    t->is_stream = strstr(type, "connect+") != NULL || strstr(type, "grpc") != NULL;
    t->is_web = strstr(type, "grpc-web") != NULL;
    envelope_reader_init(&t->reader, 1 << 24);
    head.target = arena_printf(&f->arena, "/process.Process/%s", method);
    fields_add(&head.fields, &f->arena, FIELD_CONTENT_TYPE,
               arena_copy(&f->arena, slice_from_string(type)));
    for (size_t i = 0; fields != NULL && fields[i] != NULL; i += 2)
        fields_add_named(&head.fields, &f->arena, slice_from_string(fields[i]),
                         slice_from_string(fields[i + 1]));
    t->exchange = http_client_open(f->client, &head, false, &test_events, t);
}

void rpc_send_bytes(struct rpc_test *t, struct slice bytes)
{
    exchange_write(t->exchange, bytes);
}

void rpc_send(struct rpc_test *t, const char *json)
{
    struct buf frame = { 0 };

    if (t->is_stream)
        envelope_append(&frame, 0, slice_from_string(json));
    else
        buf_append(&frame, slice_from_string(json));
    rpc_send_bytes(t, buf_slice(&frame));
    buf_deinit(&frame);
}

void rpc_send_end(struct rpc_test *t)
{
    exchange_end(t->exchange, NULL);
}

void rpc_resume(struct rpc_test *t)
{
    size_t held = t->held_bytes;

    t->is_paused = false;
    t->held_bytes = 0;
    exchange_consumed(t->exchange, held);
}

void rpc_close(struct rpc_test *t)
{
    struct buf *bufs[] = { &t->content_type, &t->allow, &t->accept_post, &t->grpc_status,
                           &t->grpc_message, &t->body,  &t->end_stream,  &t->message,
                           &t->out,          &t->err,   &t->pty,         &t->end_status,
                           &t->web };

    if (t->f == NULL)
        return;
    exchange_release(&t->exchange);
    envelope_reader_deinit(&t->reader);
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++)
        buf_deinit(bufs[i]);
    memset(t, 0, sizeof(*t));
}

static bool is_unary(const char *method)
{
    return strcmp(method, "Start") != 0 && strcmp(method, "Connect") != 0 &&
           strcmp(method, "StreamInput") != 0;
}

void rpc_call(struct fixture *f, struct rpc_test *t, const char *method, const char *json)
{
    rpc_open(f, t, method, is_unary(method) ? "application/json" : "application/connect+json",
             NULL);
    rpc_send(t, json);
    rpc_send_end(t);
}

void rpc_do(struct fixture *f, const char *method, const char *format, ...)
{
    struct rpc_test *t = rpc_new();
    struct buf json = { 0 };
    va_list arguments;

    va_start(arguments, format);
    buf_vprintf(&json, format, arguments);
    va_end(arguments);
    rpc_call(f, t, method, buf_text(&json));
    WAIT_FOR(f, t->is_ended);
    if (t->status != 200)
        fail_msg("%s %s: %u %s", method, buf_text(&json), t->status, buf_text(&t->body));
    buf_deinit(&json);
    rpc_free(&t);
}
