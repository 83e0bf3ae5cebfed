/* tests/load/rpc.c — see the header. */
#include "rpc.h"

#include <stdio.h>
#include <time.h>

#include "base/base64.h"
#include "base/mem.h"

enum { MESSAGE_BYTES = 1 << 20, SKIPPING = 1000, STAMP_DIGITS = 16, LIFE_SPARE_MS = 60000 };

static uint64_t wall_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static struct slice path_of(enum process_method method)
{
    static char paths[PROCESS_METHOD_COUNT][40];

    if (paths[method][0] == '\0') /* the same bytes from every thread */
        snprintf(paths[method], sizeof(paths[method]), "/process.Process/%s",
                 process_method_text(method));
    return slice_from_string(paths[method]);
}

void rpc_unary(struct request *request, enum process_method method, struct slice body)
{
    request->shape = SHAPE_UNARY;
    request->path = path_of(method);
    request->content_type = SLICE("application/json");
    buf_append(&request->body, body);
}

static void stream_of(struct request *request, enum process_method method, int codec)
{
    request->shape = SHAPE_STREAM;
    request->path = path_of(method);
    request->content_type = codec == CODEC_PROTO ? SLICE("application/connect+proto")
                                                 : SLICE("application/connect+json");
}

/* We write Connect's request in JSON, and one load speaks one language. */
static enum message_codec codec_of(const struct load *load)
{
    return load->codec == CODEC_PROTO && load->kind != LOAD_ATTACH ? MESSAGE_PROTO : MESSAGE_JSON;
}

static struct slice life_text(struct run *run)
{
    static _Thread_local char text[24];
    const struct scenario *s = run->lane->settings->scenario;
    int len = snprintf(text, sizeof(text), "%llu",
                       (unsigned long long)(s->duration_ms + s->grace_ms + LIFE_SPARE_MS));

    return slice_of(text, (size_t)len); /* the same for the whole run */
}

void rpc_start(struct request *request, const char *const *command, struct slice tag,
               bool stdin_open)
{
    const struct load *load = request->run->load;
    struct slice args[COMMAND_MAX];
    struct start_request start = { .tag = tag, .has_stdin = true, .stdin_enabled = stdin_open };
    struct buf message = { 0 };
    enum message_codec codec = codec_of(load);

    if (load->command[0] != NULL)
        command = load->command;
    start.process.cmd = slice_from_string(command[0]);
    start.process.args = args;
    for (size_t i = 1; command[i] != NULL && i < COMMAND_MAX; i++)
        args[start.process.arg_count++] = slice_from_string(command[i]);
    stream_of(request, METHOD_START, codec == MESSAGE_PROTO ? CODEC_PROTO : CODEC_JSON);
    request->timeout = life_text(request->run);
    start_request_encode(codec, &start, &message);
    envelope_append(&request->body, 0, buf_slice(&message));
    buf_deinit(&message);
}

static void envelope_json(struct buf *into, const char *format, ...) PRINTF_LIKE(2, 3);
static void envelope_json(struct buf *into, const char *format, ...)
{
    struct buf message = { 0 };
    va_list arguments;

    va_start(arguments, format);
    buf_vprintf(&message, format, arguments);
    va_end(arguments);
    envelope_append(into, 0, buf_slice(&message));
    buf_deinit(&message);
}

void rpc_connect(struct request *request, struct slice tag)
{
    stream_of(request, METHOD_CONNECT, CODEC_JSON);
    envelope_json(&request->body, "{\"process\":{\"tag\":\"%.*s\"}}", SLICE_ARGS(tag));
}

void rpc_stream_input(struct request *request, uint32_t pid)
{
    stream_of(request, METHOD_STREAM_INPUT, CODEC_JSON);
    request->keep_open = true;
    envelope_json(&request->body, "{\"start\":{\"process\":{\"pid\":%u}}}", pid);
}

void rpc_input_json(struct buf *into, struct slice bytes)
{
    buf_append(into, SLICE("\"input\":{\"stdin\":\""));
    base64_encode(bytes, into);
    buf_append(into, SLICE("\"}"));
}

/* ---- ending what was started ---- */

static void on_kill_end(struct request *request, enum outcome outcome)
{
    (void)outcome;
    mem_free(request);
}

static const struct request_events kill_events = { .on_end = on_kill_end };

void rpc_kill(struct run *run, const struct identity *identity, uint32_t pid)
{
    struct request *request = mem_alloc(sizeof(*request));
    char body[96];
    int len = snprintf(body, sizeof(body),
                       "{\"process\":{\"pid\":%u},\"signal\":\"SIGNAL_SIGKILL\"}", pid);

    request_init(request, run, &kill_events, 0);
    request->identity = identity;
    rpc_unary(request, METHOD_SEND_SIGNAL, slice_of(body, (size_t)len));
    request_start(request);
}

/* ---- events ---- */

void events_init(struct events *events, const struct load *load,
                 void (*on_event)(void *, const struct process_event *), void *owner)
{
    *events = (struct events){ .codec = codec_of(load), .on_event = on_event, .owner = owner };
    envelope_reader_init(&events->reader, MESSAGE_BYTES);
}

void events_deinit(struct events *events)
{
    envelope_reader_deinit(&events->reader);
}

static enum status on_message(void *arg, uint8_t flags, struct slice message)
{
    struct events *events = arg;
    struct process_event event;
    struct arena arena;
    char memory[2048];
    enum status status;

    if (flags & ENVELOPE_END_STREAM) {
        events->has_end = true;
        events->end = outcome_of_json(message);
        return STATUS_OK;
    }
    arena_init(&arena, memory, sizeof(memory));
    status = process_event_decode(events->codec, message, &arena, &event);
    if (status == STATUS_OK) {
        events->has_exit = events->has_exit || event.kind == EVENT_END;
        events->on_event(events->owner, &event);
    }
    arena_deinit(&arena);
    return status;
}

bool events_feed(struct events *events, struct slice bytes)
{
    return envelope_reader_feed(&events->reader, bytes, on_message, events) == STATUS_OK;
}

enum outcome events_outcome(const struct events *events, enum outcome outcome)
{
    if (outcome != OUTCOME_OK)
        return outcome;
    return events->has_end ? events->end : OUTCOME_MALFORMED;
}

/* ---- time stamps ---- */

void stamps_feed(struct stamps *stamps, struct slice bytes, struct run *run)
{
    uint64_t now = wall_us();

    for (size_t i = 0; i < bytes.len; i++) {
        char c = bytes.ptr[i];

        if (c == '\n') {
            stamps->at = 0;
        } else if (stamps->at == 0) {
            stamps->at = c == '@' ? 1 : SKIPPING;
            stamps->value = 0;
        } else if (stamps->at <= STAMP_DIGITS && c >= '0' && c <= '9') {
            stamps->value = stamps->value * 10 + (uint64_t)(c - '0');
            if (stamps->at++ == STAMP_DIGITS)
                run_count_event(run, now > stamps->value ? now - stamps->value : 0);
        } else {
            const char *line_end = memchr(bytes.ptr + i, '\n', bytes.len - i);

            stamps->at = SKIPPING;
            if (line_end == NULL)
                return;
            i = (size_t)(line_end - bytes.ptr) - 1;
        }
    }
}

/* ---- echoes ---- */

bool echo_sent(struct echo_ring *ring, uint64_t due_us)
{
    if (ring->count == ECHO_RING)
        return false;
    ring->due_us[(ring->first + ring->count++) % ECHO_RING] = due_us;
    return true;
}

void echo_came(struct echo_ring *ring, struct run *run)
{
    if (ring->count == 0)
        return; /* more came back than was sent: the next second's rate shows it */
    run_count(run, ring->due_us[ring->first], OUTCOME_OK);
    ring->first = (ring->first + 1) % ECHO_RING;
    ring->count--;
}

void echo_lost(struct echo_ring *ring, struct run *run, enum outcome outcome)
{
    for (; ring->count > 0; ring->count--) {
        run_count(run, ring->due_us[ring->first], outcome);
        ring->first = (ring->first + 1) % ECHO_RING;
    }
}
