/* connect/process_message_json_encode.c — messages as compact JSON, written straight into the
 * caller's buf: an event costs no tree and no second copy of its bytes. */
#include "base/base64.h"
#include "connect/process_message_codec.h"

/* Starts a member: a comma unless it is the first of its object, then the quoted name and a colon.
 */
static void put_name(struct buf *into, bool *is_first, const char *name)
{
    if (!*is_first)
        buf_append_byte(into, ',');
    *is_first = false;
    buf_append_byte(into, '"');
    buf_append(into, slice_from_string(name));
    buf_append(into, SLICE("\":"));
}

static void put_quoted(struct buf *into, struct slice text)
{
    buf_append_byte(into, '"');
    buf_append_json_text(into, text);
    buf_append_byte(into, '"');
}

/* Left out when empty, as proto3's JSON does. */
static void put_text(struct buf *into, bool *is_first, const char *name, struct slice text)
{
    if (text.len == 0)
        return;
    put_name(into, is_first, name);
    put_quoted(into, text);
}

static void put_number(struct buf *into, bool *is_first, const char *name, int64_t number)
{
    if (number == 0)
        return;
    put_name(into, is_first, name);
    buf_printf(into, "%lld", (long long)number);
}

static void put_true(struct buf *into, bool *is_first, const char *name, bool value)
{
    if (!value)
        return;
    put_name(into, is_first, name);
    buf_append(into, SLICE("true"));
}

static void put_data(struct buf *into, const char *output, struct slice bytes)
{
    buf_append(into, SLICE("\"data\":{\""));
    buf_append(into, slice_from_string(output));
    buf_append(into, SLICE("\":\""));
    base64_encode(bytes, into);
    buf_append(into, SLICE("\"}"));
}

static void put_start_event(struct buf *into, uint32_t pid)
{
    bool is_first = true;

    buf_append(into, SLICE("\"start\":{"));
    put_number(into, &is_first, "pid", pid);
    buf_append_byte(into, '}');
}

static void put_end_event(struct buf *into, const struct process_event *event)
{
    bool is_first = true;

    buf_append(into, SLICE("\"end\":{"));
    put_number(into, &is_first, "exitCode", event->exit_code);
    put_true(into, &is_first, "exited", event->exited);
    put_text(into, &is_first, "status", event->status);
    put_text(into, &is_first, "error", event->error);
    buf_append_byte(into, '}');
}

void json_encode_event(const struct process_event *event, struct buf *into)
{
    buf_append(into, SLICE("{\"event\":{"));
    switch (event->kind) {
    case EVENT_NONE:
        break;
    case EVENT_START:
        put_start_event(into, event->pid);
        break;
    case EVENT_STDOUT:
        put_data(into, "stdout", event->bytes);
        break;
    case EVENT_STDERR:
        put_data(into, "stderr", event->bytes);
        break;
    case EVENT_PTY:
        put_data(into, "pty", event->bytes);
        break;
    case EVENT_KEEPALIVE:
        buf_append(into, SLICE("\"keepalive\":{}"));
        break;
    case EVENT_END:
        put_end_event(into, event);
        break;
    }
    buf_append(into, SLICE("}}"));
}

static void put_args(struct buf *into, bool *is_first, const struct process_config *config)
{
    if (config->arg_count == 0)
        return;
    put_name(into, is_first, "args");
    for (size_t i = 0; i < config->arg_count; i++) {
        buf_append_byte(into, i == 0 ? '[' : ',');
        put_quoted(into, config->args[i]);
    }
    buf_append_byte(into, ']');
}

static void put_envs(struct buf *into, bool *is_first, const struct process_config *config)
{
    if (config->env_count == 0)
        return;
    put_name(into, is_first, "envs");
    for (size_t i = 0; i < config->env_count; i++) {
        buf_append_byte(into, i == 0 ? '{' : ',');
        put_quoted(into, config->envs[i].name);
        buf_append_byte(into, ':');
        put_quoted(into, config->envs[i].value);
    }
    buf_append_byte(into, '}');
}

static void put_config(struct buf *into, const struct process_config *config)
{
    bool is_first = true;

    buf_append_byte(into, '{');
    put_text(into, &is_first, "cmd", config->cmd);
    put_args(into, &is_first, config);
    put_envs(into, &is_first, config);
    put_text(into, &is_first, "cwd", config->cwd);
    buf_append_byte(into, '}');
}

void json_encode_list(const struct process_info *infos, size_t count, struct buf *into)
{
    if (count == 0) {
        buf_append(into, SLICE("{}"));
        return;
    }
    buf_append(into, SLICE("{\"processes\":"));
    for (size_t i = 0; i < count; i++) {
        bool is_first = true;
        buf_append(into, i == 0 ? SLICE("[{") : SLICE(",{"));
        put_name(into, &is_first, "config");
        put_config(into, &infos[i].config);
        put_number(into, &is_first, "pid", infos[i].pid);
        put_text(into, &is_first, "tag", infos[i].tag);
        buf_append_byte(into, '}');
    }
    buf_append(into, SLICE("]}"));
}

static void put_pty(struct buf *into, bool *is_first, const struct start_request *request)
{
    bool is_first_size = true;

    if (!request->has_pty)
        return;
    put_name(into, is_first, "pty");
    if (!request->has_pty_size) {
        buf_append(into, SLICE("{}"));
        return;
    }
    buf_append(into, SLICE("{\"size\":{"));
    put_number(into, &is_first_size, "cols", request->pty.cols);
    put_number(into, &is_first_size, "rows", request->pty.rows);
    buf_append(into, SLICE("}}"));
}

void json_encode_start_request(const struct start_request *request, struct buf *into)
{
    bool is_first = true;

    buf_append_byte(into, '{');
    put_name(into, &is_first, "process");
    put_config(into, &request->process);
    put_pty(into, &is_first, request);
    put_text(into, &is_first, "tag", request->tag);
    if (request->has_stdin) { /* optional: its presence counts, also when false */
        put_name(into, &is_first, "stdin");
        buf_append(into, request->stdin_enabled ? SLICE("true") : SLICE("false"));
    }
    buf_append_byte(into, '}');
}
