/* connect/process_message_proto_encode.c — messages in binary. The field numbers are those of
 * agent/process.proto. A data event's lengths are computed first, so that its bytes are copied
 * once; rarer messages are built inside out. */
#include "connect/process_message_codec.h"
#include "connect/proto_wire.h"

static void put_text(struct buf *into, uint32_t number, struct slice text)
{
    if (text.len > 0) /* proto3 leaves defaults out */
        wire_put_bytes(into, number, text);
}

static void put_number(struct buf *into, uint32_t number, uint64_t value)
{
    if (value != 0)
        wire_put_varint(into, number, value);
}

/* Appends `inner` as field `number` and frees it. */
static void put_message(struct buf *into, uint32_t number, struct buf *inner)
{
    wire_put_bytes(into, number, buf_slice(inner));
    buf_deinit(inner);
}

/* StartResponse.event = 1 { data = 2 { stdout = 1 | stderr = 2 | pty = 3 } } */
static void put_data_event(struct buf *into, uint32_t output_number, struct slice bytes)
{
    size_t data_len = wire_bytes_size(bytes.len);
    size_t event_len = wire_bytes_size(data_len);

    buf_reserve(into, event_len + 16);
    wire_put_bytes_head(into, 1, event_len);
    wire_put_bytes_head(into, 2, data_len);
    wire_put_bytes(into, output_number, bytes);
}

/* start = 1, end = 3 or keepalive = 4, with its content in `inner`, which is freed. */
static void put_event(struct buf *into, uint32_t event_number, struct buf *inner)
{
    struct buf event = { 0 };

    put_message(&event, event_number, inner);
    put_message(into, 1, &event);
}

static void put_end_event(struct buf *into, const struct process_event *event)
{
    struct buf end = { 0 };

    put_number(&end, 1, wire_zigzag_encode(event->exit_code));
    put_number(&end, 2, event->exited);
    put_text(&end, 3, event->status);
    put_text(&end, 4, event->error);
    put_event(into, 3, &end);
}

void proto_encode_event(const struct process_event *event, struct buf *into)
{
    struct buf inner = { 0 };

    switch (event->kind) {
    case EVENT_NONE:
        put_message(into, 1, &inner);
        break;
    case EVENT_START:
        put_number(&inner, 1, event->pid);
        put_event(into, 1, &inner);
        break;
    case EVENT_STDOUT:
        put_data_event(into, 1, event->bytes);
        break;
    case EVENT_STDERR:
        put_data_event(into, 2, event->bytes);
        break;
    case EVENT_PTY:
        put_data_event(into, 3, event->bytes);
        break;
    case EVENT_KEEPALIVE:
        put_event(into, 4, &inner);
        break;
    case EVENT_END:
        put_end_event(into, event);
        break;
    }
}

static void put_config(struct buf *into, uint32_t number, const struct process_config *config)
{
    struct buf inner = { 0 };

    put_text(&inner, 1, config->cmd);
    for (size_t i = 0; i < config->arg_count; i++)
        wire_put_bytes(&inner, 2, config->args[i]);
    for (size_t i = 0; i < config->env_count; i++) {
        struct buf entry = { 0 };
        wire_put_bytes(&entry, 1, config->envs[i].name);
        wire_put_bytes(&entry, 2, config->envs[i].value);
        put_message(&inner, 3, &entry);
    }
    put_text(&inner, 4, config->cwd);
    put_message(into, number, &inner);
}

void proto_encode_list(const struct process_info *infos, size_t count, struct buf *into)
{
    for (size_t i = 0; i < count; i++) {
        struct buf info = { 0 };
        put_config(&info, 1, &infos[i].config);
        put_number(&info, 2, infos[i].pid);
        put_text(&info, 3, infos[i].tag);
        put_message(into, 1, &info);
    }
}

void proto_encode_start_request(const struct start_request *request, struct buf *into)
{
    struct buf pty = { 0 };
    struct buf size = { 0 };

    put_config(into, 1, &request->process);
    if (request->has_pty_size) {
        put_number(&size, 1, request->pty.cols);
        put_number(&size, 2, request->pty.rows);
        put_message(&pty, 1, &size);
    }
    if (request->has_pty)
        wire_put_bytes(into, 2, buf_slice(&pty));
    buf_deinit(&pty);
    put_text(into, 3, request->tag);
    if (request->has_stdin) /* optional: its presence counts, also when false */
        wire_put_varint(into, 4, request->stdin_enabled);
}
