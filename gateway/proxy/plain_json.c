/* proxy/plain_json.c — see plain_json.h. */
#include "proxy/plain_json.h"

#include "base/base64.h"
#include "base/utf8.h"
#include "proxy/json_scan.h"

static const char *const output_names[PLAIN_OUTPUT_COUNT] = {
    [PLAIN_STDOUT] = "stdout",
    [PLAIN_STDERR] = "stderr",
    [PLAIN_PTY] = "pty",
};

enum plain_kind plain_json_kind(struct slice accept)
{
    while (accept.len > 0) {
        struct slice range = slice_cut(&accept, ',');
        struct slice type = slice_trim(slice_cut(&range, ';'));
        if (slice_equal_nocase(type, SLICE("application/x-ndjson")) ||
            slice_equal_nocase(type, SLICE("application/ndjson")) ||
            slice_equal_nocase(type, SLICE("application/jsonl")))
            return PLAIN_NDJSON;
        if (slice_equal_nocase(type, SLICE("text/event-stream")))
            return PLAIN_SSE;
    }
    return PLAIN_DOCUMENT;
}

struct slice plain_json_content_type(enum plain_kind kind)
{
    return kind == PLAIN_NDJSON ? SLICE("application/x-ndjson")
           : kind == PLAIN_SSE  ? SLICE("text/event-stream")
                                : SLICE("application/json");
}

/* ---- the request ---- */

enum status plain_request_frame(enum process_method method, struct slice body, struct arena *arena,
                                struct plain_request *out, struct buf *out_envelope,
                                struct buf *out_error)
{
    struct process_request request;
    struct buf message = { 0 };
    struct slice raw;

    *out = (struct plain_request){ 0 };
    enum status status =
        process_request_decode(method, MESSAGE_JSON, body, arena, &request, out_error);
    if (status != STATUS_OK)
        return status;
    if (json_scan_member(body, SLICE("wait_ms"), &raw)) {
        if (!slice_to_u64(raw, &out->wait_ms)) {
            buf_append(out_error, SLICE("wait_ms is not a number of milliseconds"));
            return STATUS_MALFORMED;
        }
        out->has_wait_ms = true;
    }
    if (method == METHOD_START) { /* {"command":[…]} becomes what every agent understands */
        out->tag = request.start.tag;
        start_request_encode(MESSAGE_JSON, &request.start, &message);
        envelope_append(out_envelope, 0, buf_slice(&message));
        buf_deinit(&message);
    } else {
        out->tag = request.selector.tag;
        envelope_append(out_envelope, 0, body);
    }
    return STATUS_OK;
}

/* ---- events ---- */

static void begin_event(const struct plain_answer *answer, const char *name, struct buf *into)
{
    if (answer->kind == PLAIN_SSE)
        buf_printf(into, "event: %s\ndata: {", name);
    else
        buf_printf(into, "{\"event\":\"%s\",", name);
}

static void end_event(const struct plain_answer *answer, struct buf *into)
{
    buf_append(into, answer->kind == PLAIN_SSE ? SLICE("}\n\n") : SLICE("}\n"));
}

static void append_text_member(struct buf *into, const char *name, struct slice text)
{
    buf_printf(into, ",\"%s\":\"", name);
    buf_append_json_text(into, text);
    buf_append_byte(into, '"');
}

static void emit_start(const struct plain_answer *answer, struct buf *into)
{
    begin_event(answer, "start", into);
    buf_printf(into, "\"pid\":%u", answer->pid);
    if (answer->tag.len > 0)
        append_text_member(into, "tag", answer->tag);
    end_event(answer, into);
}

static void emit_bytes(const struct plain_answer *answer, enum plain_output output,
                       struct slice bytes, bool is_text, struct buf *into)
{
    begin_event(answer, "data", into);
    buf_printf(into, "\"%s\":\"", output_names[output]);
    if (is_text)
        buf_append_json_text(into, bytes);
    else
        base64_encode(bytes, into);
    buf_append_byte(into, '"');
    if (!is_text)
        buf_append(into, SLICE(",\"encoding\":\"base64\""));
    end_event(answer, into);
}

/* A character that is cut at the end of one event waits for the next one. */
static void emit_output(struct plain_answer *answer, enum plain_output output, struct slice bytes,
                        struct buf *into)
{
    struct buf joined = { 0 };

    if (answer->cut_len[output] > 0) {
        buf_append(&joined, slice_of(answer->cut[output], answer->cut_len[output]));
        buf_append(&joined, bytes);
        bytes = buf_slice(&joined);
        answer->cut_len[output] = 0;
    }
    size_t cut = utf8_incomplete_tail_len(bytes);
    struct slice whole = slice_first(bytes, bytes.len - cut);
    if (!utf8_is_valid(whole)) {
        emit_bytes(answer, output, bytes, false, into);
    } else {
        memcpy(answer->cut[output], bytes.ptr + whole.len, cut);
        answer->cut_len[output] = (uint8_t)cut;
        if (whole.len > 0)
            emit_bytes(answer, output, whole, true, into);
    }
    buf_deinit(&joined);
}

static void emit_cuts(struct plain_answer *answer, struct buf *into)
{
    for (int output = 0; output < PLAIN_OUTPUT_COUNT; output++) {
        struct slice cut = slice_of(answer->cut[output], answer->cut_len[output]);
        answer->cut_len[output] = 0;
        if (cut.len > 0)
            emit_bytes(answer, (enum plain_output)output, cut, false, into);
    }
}

static void append_end_texts(const struct plain_answer *answer, struct buf *into)
{
    if (answer->status_text.len > 0)
        append_text_member(into, "status", buf_slice(&answer->status_text));
    if (answer->error_text.len > 0)
        append_text_member(into, "error", buf_slice(&answer->error_text));
}

static void emit_end(struct plain_answer *answer, struct buf *into)
{
    emit_cuts(answer, into);
    begin_event(answer, "end", into);
    buf_printf(into, "\"exit_code\":%d,\"exited\":%s", answer->exit_code,
               answer->exited ? "true" : "false");
    append_end_texts(answer, into);
    end_event(answer, into);
}

void plain_answer_append_error(struct plain_answer *answer, struct slice members, struct buf *into)
{
    emit_cuts(answer, into);
    begin_event(answer, "error", into);
    buf_append(into, members);
    end_event(answer, into);
}

/* ---- what the agent says ---- */

static void collect_output(struct plain_answer *answer, enum plain_output output,
                           struct slice bytes)
{
    size_t used = answer->output[0].len + answer->output[1].len;
    size_t room = answer->limit_bytes > used ? answer->limit_bytes - used : 0;

    if (bytes.len > room)
        answer->is_truncated = true;
    buf_append(&answer->output[output == PLAIN_STDERR], slice_first(bytes, room));
}

static void take_output(struct plain_answer *answer, enum plain_output output, struct slice bytes,
                        struct buf *into)
{
    if (answer->kind == PLAIN_DOCUMENT)
        collect_output(answer, output, bytes);
    else if (bytes.len > 0)
        emit_output(answer, output, bytes, into);
}

static void take_end(struct plain_answer *answer, const struct process_event *event,
                     struct buf *into)
{
    answer->has_end = true;
    answer->exit_code = event->exit_code;
    answer->exited = event->exited;
    buf_clear(&answer->status_text);
    buf_clear(&answer->error_text);
    buf_append(&answer->status_text, event->status);
    buf_append(&answer->error_text, event->error);
    if (answer->kind != PLAIN_DOCUMENT)
        emit_end(answer, into);
}

static void take_event(struct plain_answer *answer, const struct process_event *event,
                       struct buf *into)
{
    switch (event->kind) {
    case EVENT_START:
        answer->pid = event->pid;
        answer->has_pid = true;
        if (answer->kind != PLAIN_DOCUMENT)
            emit_start(answer, into);
        break;
    case EVENT_STDOUT:
        take_output(answer, PLAIN_STDOUT, event->bytes, into);
        break;
    case EVENT_STDERR:
        take_output(answer, PLAIN_STDERR, event->bytes, into);
        break;
    case EVENT_PTY:
        take_output(answer, PLAIN_PTY, event->bytes, into);
        break;
    case EVENT_KEEPALIVE:
        if (answer->kind == PLAIN_NDJSON)
            buf_append(into, SLICE("{\"event\":\"keepalive\"}\n"));
        else if (answer->kind == PLAIN_SSE)
            buf_append(into, SLICE(": keepalive\n\n"));
        break;
    case EVENT_END:
        take_end(answer, event, into);
        break;
    case EVENT_NONE: /* an agent that is newer than we are */
        break;
    }
}

/* {} or {"error":{"code":…,"message":…}}. */
static void take_end_stream(struct plain_answer *answer, struct slice message)
{
    struct slice error, raw;
    struct buf code = { 0 };

    if (!json_scan_member(message, SLICE("error"), &error))
        return;
    answer->error = CONNECT_UNKNOWN;
    if (json_scan_member(error, SLICE("code"), &raw) && json_scan_text(raw, &code) &&
        !connect_code_from_text(buf_slice(&code), &answer->error))
        answer->error = CONNECT_UNKNOWN;
    if (answer->error == CONNECT_OK)
        answer->error = CONNECT_UNKNOWN;
    if (json_scan_member(error, SLICE("message"), &raw) &&
        !json_scan_text(raw, &answer->error_message))
        buf_clear(&answer->error_message);
    buf_deinit(&code);
}

struct feeding {
    struct plain_answer *answer;
    struct buf *into;
};

static enum status on_message(void *arg, uint8_t flags, struct slice message)
{
    struct feeding *feeding = arg;
    struct plain_answer *answer = feeding->answer;
    struct process_event event;
    struct arena arena;
    char memory[4096];

    if ((flags & ENVELOPE_COMPRESSED) != 0) /* nobody offered to take that */
        return STATUS_AGENT_PROTOCOL;
    if ((flags & ENVELOPE_END_STREAM) != 0) {
        take_end_stream(answer, message);
        return STATUS_OK;
    }
    if (answer->is_truncated)
        return STATUS_OK;
    arena_init(&arena, memory, sizeof(memory));
    enum status status = process_event_decode(MESSAGE_JSON, message, &arena, &event);
    if (status == STATUS_OK)
        take_event(answer, &event, feeding->into);
    arena_deinit(&arena);
    return status == STATUS_OK ? STATUS_OK : STATUS_AGENT_PROTOCOL;
}

void plain_answer_init(struct plain_answer *answer, enum plain_kind kind, size_t limit_bytes)
{
    *answer = (struct plain_answer){ .kind = kind, .limit_bytes = limit_bytes };
    /* Base64 and JSON around the bytes that fit: an event of the largest output may still come
     * whole. */
    envelope_reader_init(&answer->reader, limit_bytes + limit_bytes / 2 + 4096);
}

void plain_answer_deinit(struct plain_answer *answer)
{
    envelope_reader_deinit(&answer->reader);
    buf_deinit(&answer->error_message);
    buf_deinit(&answer->status_text);
    buf_deinit(&answer->error_text);
    buf_deinit(&answer->output[0]);
    buf_deinit(&answer->output[1]);
}

enum status plain_answer_feed(struct plain_answer *answer, struct slice bytes, struct buf *into)
{
    struct feeding feeding = { .answer = answer, .into = into };
    enum status status = envelope_reader_feed(&answer->reader, bytes, on_message, &feeding);

    return status == STATUS_OK ? STATUS_OK : STATUS_AGENT_PROTOCOL;
}

/* ---- the document ---- */

static void append_output(const struct plain_answer *answer, int which, bool is_text,
                          struct buf *into)
{
    struct slice bytes = buf_slice(&answer->output[which]);

    buf_printf(into, ",\"%s\":\"", output_names[which]);
    if (is_text) /* what was cut in the middle of a character ends before it */
        buf_append_json_text(into, slice_first(bytes, bytes.len - utf8_incomplete_tail_len(bytes)));
    else
        base64_encode(bytes, into);
    buf_append_byte(into, '"');
}

static bool output_is_text(const struct plain_answer *answer, int which)
{
    struct slice bytes = buf_slice(&answer->output[which]);

    if (!answer->has_end)
        bytes = slice_first(bytes, bytes.len - utf8_incomplete_tail_len(bytes));
    return utf8_is_valid(bytes);
}

void plain_answer_append_document(const struct plain_answer *answer, struct buf *into)
{
    bool is_text = output_is_text(answer, 0) && output_is_text(answer, 1);

    if (answer->has_pid)
        buf_printf(into, "\"pid\":%u", answer->pid);
    else
        buf_append(into, SLICE("\"pid\":null"));
    if (answer->tag.len > 0)
        append_text_member(into, "tag", answer->tag);
    else
        buf_append(into, SLICE(",\"tag\":null"));
    append_output(answer, 0, is_text, into);
    append_output(answer, 1, is_text, into);
    if (!is_text)
        buf_append(into, SLICE(",\"encoding\":\"base64\""));
    if (answer->has_end)
        buf_printf(into, ",\"exit_code\":%d", answer->exit_code);
    else
        buf_append(into, SLICE(",\"exit_code\":null"));
    append_end_texts(answer, into);
    buf_printf(into, ",\"running\":%s",
               !answer->has_end && answer->error == CONNECT_OK ? "true" : "false");
    if (answer->is_truncated)
        buf_append(into, SLICE(",\"truncated\":true"));
}
