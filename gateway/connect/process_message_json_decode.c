/* connect/process_message_json_decode.c — messages out of JSON as proto3's mapping has it: null
 * counts as absent, bytes are base64, enums come by name or number, numbers may come as text,
 * unknown members are ignored. Nesting and the number of values are bounded before jansson builds
 * its tree. */
#include <math.h>

#include <jansson.h>

#include "base/base64.h"
#include "connect/process_message_codec.h"

enum { JSON_DEPTH_LIMIT = 32 };

/* Counts brackets and commas outside of texts; whether they fit together is the parser's business.
 */
static bool is_modest(struct slice json)
{
    size_t depth = 0;
    size_t values = 0;
    bool in_text = false;

    for (size_t i = 0; i < json.len; i++) {
        char c = json.ptr[i];
        if (c == '\\' && in_text)
            i++;
        else if (c == '"')
            in_text = !in_text;
        else if (!in_text && (c == '{' || c == '['))
            depth++, values++;
        else if (!in_text && (c == '}' || c == ']'))
            depth -= depth > 0;
        else if (!in_text && c == ',')
            values++;
        if (depth > JSON_DEPTH_LIMIT || values > MESSAGE_VALUE_COUNT_LIMIT)
            return false;
    }
    return true;
}

/* Returns owned, or NULL after noting why. */
static json_t *parse_message(const struct decoder *decoder, struct slice message)
{
    json_error_t error;

    if (slice_trim(message).len == 0) {
        (void)decoder_refuse(decoder, "message is empty, a JSON object is expected");
        return NULL;
    }
    if (!is_modest(message)) {
        (void)decoder_refuse(decoder, "JSON is nested too deeply or has too many values");
        return NULL;
    }
    json_t *parsed = json_loadb(message.ptr, message.len, JSON_REJECT_DUPLICATES, &error);
    if (parsed == NULL)
        (void)decoder_refuse(decoder, "invalid JSON at byte %d: %s", error.position, error.text);
    else if (!json_is_object(parsed))
        (void)decoder_refuse(decoder, "a JSON object is expected");
    if (parsed != NULL && !json_is_object(parsed)) {
        json_decref(parsed);
        parsed = NULL;
    }
    return parsed;
}

/* NULL when absent or null. */
static const json_t *member(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return json_is_null(value) ? NULL : value;
}

static enum status read_object(const struct decoder *decoder, const json_t *object,
                               const char *name, const json_t **out_value)
{
    *out_value = member(object, name);
    if (*out_value != NULL && !json_is_object(*out_value))
        return decoder_refuse(decoder, "%s must be an object", name);
    return STATUS_OK;
}

static struct slice copy_text(const struct decoder *decoder, const json_t *text)
{
    return arena_copy(decoder->arena, slice_of(json_string_value(text), json_string_length(text)));
}

/* Leaves *out_text alone when absent. */
static enum status read_text(const struct decoder *decoder, const json_t *object, const char *name,
                             struct slice *out_text)
{
    const json_t *value = member(object, name);

    if (value == NULL)
        return STATUS_OK;
    if (!json_is_string(value))
        return decoder_refuse(decoder, "%s must be a text", name);
    *out_text = copy_text(decoder, value);
    return STATUS_OK;
}

static enum status read_bytes(const struct decoder *decoder, const json_t *value, const char *name,
                              struct slice *out_bytes)
{
    struct buf decoded = { 0 };
    bool good =
        json_is_string(value) &&
        base64_decode(slice_of(json_string_value(value), json_string_length(value)), &decoded);

    if (good)
        *out_bytes = arena_copy(decoder->arena, buf_slice(&decoded));
    buf_deinit(&decoded);
    return good ? STATUS_OK : decoder_refuse(decoder, "%s must be bytes in base64", name);
}

static enum status read_bool(const struct decoder *decoder, const json_t *object, const char *name,
                             bool *out_present, bool *out_value)
{
    const json_t *value = member(object, name);

    *out_present = value != NULL;
    if (value == NULL)
        return STATUS_OK;
    if (!json_is_boolean(value))
        return decoder_refuse(decoder, "%s must be true or false", name);
    *out_value = json_is_true(value);
    return STATUS_OK;
}

static bool text_to_number(struct slice text, double *out_number)
{
    bool is_negative = slice_starts_with(text, SLICE("-"));
    uint64_t magnitude;

    if (!slice_to_u64(is_negative ? slice_skip(text, 1) : text, &magnitude))
        return false;
    *out_number = is_negative ? -(double)magnitude : (double)magnitude;
    return true;
}

/* A whole number between `least` and `most` (both within 33 bits, which a double holds exactly), as
 * number or as text. */
static bool whole_number(const json_t *value, double least, double most, int64_t *out_number)
{
    double number = 0;
    bool readable = json_is_number(value);

    if (readable)
        number = json_number_value(value);
    else if (json_is_string(value))
        readable =
            text_to_number(slice_of(json_string_value(value), json_string_length(value)), &number);
    if (!readable || !(number >= least && number <= most) || trunc(number) != number)
        return false;
    *out_number = (int64_t)number;
    return true;
}

static enum status read_u32(const struct decoder *decoder, const json_t *object, const char *name,
                            uint32_t *out_number)
{
    const json_t *value = member(object, name);
    int64_t number = 0;

    if (value != NULL && !whole_number(value, 0, UINT32_MAX, &number))
        return decoder_refuse(decoder, "%s must be a number from 0 to 4294967295", name);
    *out_number = (uint32_t)number;
    return STATUS_OK;
}

static enum status read_texts(const struct decoder *decoder, const json_t *array, const char *name,
                              struct slice **out_texts, size_t *out_count)
{
    size_t count = json_array_size(array); /* 0 when it is no array */
    struct slice *texts = arena_alloc(decoder->arena, count * sizeof(*texts));

    if (array != NULL && !json_is_array(array))
        return decoder_refuse(decoder, "%s must be an array of texts", name);
    for (size_t i = 0; i < count; i++) {
        if (!json_is_string(json_array_get(array, i)))
            return decoder_refuse(decoder, "%s must be an array of texts", name);
        texts[i] = copy_text(decoder, json_array_get(array, i));
    }
    *out_texts = texts;
    *out_count = count;
    return STATUS_OK;
}

static enum status read_envs(const struct decoder *decoder, const json_t *object,
                             struct process_config *config)
{
    const json_t *envs;
    enum status status = read_object(decoder, object, "envs", &envs);

    if (status != STATUS_OK || envs == NULL)
        return status;
    config->envs = arena_alloc(decoder->arena, json_object_size(envs) * sizeof(*config->envs));
    /* jansson's iterators take an object that may be changed; this one is not. */
    json_t *iterated = (json_t *)(uintptr_t)envs;
    for (void *at = json_object_iter(iterated); at != NULL;
         at = json_object_iter_next(iterated, at)) {
        struct slice name = slice_of(json_object_iter_key(at), json_object_iter_key_len(at));
        const json_t *value = json_object_iter_value(at);
        if (!json_is_string(value))
            return decoder_refuse(decoder, "envs must be an object of texts");
        config->envs[config->env_count++] = (struct process_variable){
            .name = arena_copy(decoder->arena, name),
            .value = copy_text(decoder, value),
        };
    }
    return STATUS_OK;
}

/* cwd and envs, which stand in `process`, or beside `command` in the short form. */
static enum status read_surroundings(const struct decoder *decoder, const json_t *object,
                                     struct process_config *config)
{
    enum status status = read_text(decoder, object, "cwd", &config->cwd);

    return status == STATUS_OK ? read_envs(decoder, object, config) : status;
}

static enum status read_config(const struct decoder *decoder, const json_t *process,
                               struct process_config *config)
{
    enum status status = read_text(decoder, process, "cmd", &config->cmd);

    if (status == STATUS_OK)
        status =
            read_texts(decoder, member(process, "args"), "args", &config->args, &config->arg_count);
    return status == STATUS_OK ? read_surroundings(decoder, process, config) : status;
}

static enum status read_command(const struct decoder *decoder, const json_t *request,
                                const json_t *command, struct process_config *config)
{
    struct slice *words = NULL;
    size_t count = 0;
    enum status status = read_texts(decoder, command, "command", &words, &count);

    if (status != STATUS_OK)
        return status;
    if (member(request, "process") != NULL)
        return decoder_refuse(decoder, "give either command or process, not both");
    if (count == 0)
        return decoder_refuse(decoder, "command must name a program");
    config->cmd = words[0];
    config->args = words + 1;
    config->arg_count = count - 1;
    return read_surroundings(decoder, request, config);
}

static enum status read_pty(const struct decoder *decoder, const json_t *object, bool *out_has_pty,
                            bool *out_has_size, struct pty_size *out_size)
{
    const json_t *pty;
    const json_t *size = NULL;
    enum status status = read_object(decoder, object, "pty", &pty);

    if (status == STATUS_OK)
        status = read_object(decoder, pty, "size", &size);
    if (status == STATUS_OK)
        status = read_u32(decoder, size, "cols", &out_size->cols);
    if (status == STATUS_OK)
        status = read_u32(decoder, size, "rows", &out_size->rows);
    *out_has_pty = pty != NULL;
    *out_has_size = size != NULL;
    return status;
}

static enum status read_start(const struct decoder *decoder, const json_t *object,
                              struct start_request *start)
{
    const json_t *command = member(object, "command");
    const json_t *process = NULL;
    enum status status;

    if (command != NULL) {
        status = read_command(decoder, object, command, &start->process);
    } else {
        status = read_object(decoder, object, "process", &process);
        if (status == STATUS_OK)
            status = read_config(decoder, process, &start->process);
    }
    if (status == STATUS_OK)
        status = read_pty(decoder, object, &start->has_pty, &start->has_pty_size, &start->pty);
    if (status == STATUS_OK)
        status = read_text(decoder, object, "tag", &start->tag);
    return status == STATUS_OK
               ? read_bool(decoder, object, "stdin", &start->has_stdin, &start->stdin_enabled)
               : status;
}

static enum status read_selector(const struct decoder *decoder, const json_t *object,
                                 struct process_selector *selector)
{
    const json_t *process;
    enum status status = read_object(decoder, object, "process", &process);

    if (status == STATUS_OK)
        status = read_u32(decoder, process, "pid", &selector->pid);
    if (status == STATUS_OK)
        status = read_text(decoder, process, "tag", &selector->tag);
    selector->has_pid = member(process, "pid") != NULL;
    selector->has_tag = member(process, "tag") != NULL;
    return status;
}

static enum status read_input(const struct decoder *decoder, const json_t *object,
                              struct process_input *input)
{
    const json_t *value;
    enum status status = read_object(decoder, object, "input", &value);

    if (status != STATUS_OK || value == NULL)
        return status;
    const json_t *to_stdin = member(value, "stdin");
    const json_t *to_pty = member(value, "pty");
    if (to_stdin != NULL && to_pty != NULL)
        return decoder_refuse(decoder, "input must be one of stdin and pty");
    if (to_stdin == NULL && to_pty == NULL)
        return STATUS_OK;
    input->kind = to_stdin != NULL ? INPUT_STDIN : INPUT_PTY;
    return read_bytes(decoder, to_stdin != NULL ? to_stdin : to_pty, "input", &input->bytes);
}

static enum status read_stream_input(const struct decoder *decoder, const json_t *object,
                                     struct process_request *request)
{
    const json_t *start = NULL;
    const json_t *data = NULL;
    const json_t *keepalive = NULL;
    enum status status = read_object(decoder, object, "start", &start);

    if (status == STATUS_OK)
        status = read_object(decoder, object, "data", &data);
    if (status == STATUS_OK)
        status = read_object(decoder, object, "keepalive", &keepalive);
    if (status != STATUS_OK)
        return status;
    if ((start != NULL) + (data != NULL) + (keepalive != NULL) > 1)
        return decoder_refuse(decoder, "one of start, data and keepalive is expected");
    if (start != NULL) {
        request->stream_input = STREAM_INPUT_START;
        return read_selector(decoder, start, &request->selector);
    }
    if (data != NULL) {
        request->stream_input = STREAM_INPUT_DATA;
        return read_input(decoder, data, &request->input);
    }
    request->stream_input = keepalive != NULL ? STREAM_INPUT_KEEPALIVE : STREAM_INPUT_NONE;
    return STATUS_OK;
}

static enum status read_signal(const struct decoder *decoder, const json_t *object,
                               int32_t *out_signal)
{
    static const struct {
        const char *name;
        enum process_signal number;
    } names[] = { { "SIGNAL_UNSPECIFIED", SIGNAL_UNSPECIFIED },
                  { "SIGNAL_SIGTERM", SIGNAL_SIGTERM },
                  { "SIGNAL_SIGKILL", SIGNAL_SIGKILL } };
    const json_t *value = member(object, "signal");
    int64_t number = 0;

    if (value == NULL)
        return STATUS_OK;
    for (size_t i = 0; json_is_string(value) && i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(json_string_value(value), names[i].name) == 0) {
            *out_signal = (int32_t)names[i].number;
            return STATUS_OK;
        }
    }
    if (!json_is_number(value) || !whole_number(value, INT32_MIN, INT32_MAX, &number))
        return decoder_refuse(decoder, "signal must be SIGNAL_SIGTERM or SIGNAL_SIGKILL");
    *out_signal = (int32_t)number;
    return STATUS_OK;
}

enum status json_decode_request(const struct decoder *decoder, enum process_method method,
                                struct slice message, struct process_request *request)
{
    json_auto_t *object = parse_message(decoder, message);
    enum status status = STATUS_OK;

    if (object == NULL)
        return STATUS_MALFORMED;
    if (method == METHOD_START)
        return read_start(decoder, object, &request->start);
    if (method == METHOD_STREAM_INPUT)
        return read_stream_input(decoder, object, request);
    if (method != METHOD_LIST)
        status = read_selector(decoder, object, &request->selector);
    if (status == STATUS_OK && method == METHOD_UPDATE)
        status =
            read_pty(decoder, object, &request->has_pty, &request->has_pty_size, &request->pty);
    if (status == STATUS_OK && method == METHOD_SEND_INPUT)
        status = read_input(decoder, object, &request->input);
    if (status == STATUS_OK && method == METHOD_SEND_SIGNAL)
        status = read_signal(decoder, object, &request->signal);
    return status;
}

static enum status read_data_event(const struct decoder *decoder, const json_t *data,
                                   struct process_event *event)
{
    static const struct {
        const char *name;
        enum process_event_kind kind;
    } outputs[] = { { "stdout", EVENT_STDOUT }, { "stderr", EVENT_STDERR }, { "pty", EVENT_PTY } };
    enum status status = STATUS_OK;

    for (size_t i = 0; status == STATUS_OK && i < sizeof(outputs) / sizeof(*outputs); i++) {
        const json_t *bytes = member(data, outputs[i].name);
        if (bytes == NULL)
            continue;
        if (event->kind != EVENT_NONE)
            return decoder_refuse(decoder, "one of stdout, stderr and pty is expected");
        event->kind = outputs[i].kind;
        status = read_bytes(decoder, bytes, outputs[i].name, &event->bytes);
    }
    return status;
}

static enum status read_end_event(const struct decoder *decoder, const json_t *end,
                                  struct process_event *event)
{
    const json_t *code = member(end, "exitCode");
    int64_t number = 0;
    bool present;

    event->kind = EVENT_END;
    if (code == NULL)
        code = member(end, "exit_code");
    if (code != NULL && !whole_number(code, INT32_MIN, INT32_MAX, &number))
        return decoder_refuse(decoder, "exitCode must be a number of 32 bits");
    event->exit_code = (int32_t)number;
    enum status status = read_bool(decoder, end, "exited", &present, &event->exited);
    if (status == STATUS_OK)
        status = read_text(decoder, end, "status", &event->status);
    return status == STATUS_OK ? read_text(decoder, end, "error", &event->error) : status;
}

enum status json_decode_event(const struct decoder *decoder, struct slice message,
                              struct process_event *event)
{
    static const char *const names[] = { "start", "data", "end", "keepalive" };
    json_auto_t *object = parse_message(decoder, message);
    const json_t *wrapped = NULL;
    const json_t *found[4] = { NULL };
    size_t found_count = 0;

    if (object == NULL || read_object(decoder, object, "event", &wrapped) != STATUS_OK)
        return STATUS_MALFORMED;
    for (size_t i = 0; i < 4; i++) {
        if (read_object(decoder, wrapped, names[i], &found[i]) != STATUS_OK)
            return STATUS_MALFORMED;
        found_count += found[i] != NULL;
    }
    if (found_count > 1)
        return decoder_refuse(decoder, "one event is expected");
    if (found[0] != NULL) {
        event->kind = EVENT_START;
        return read_u32(decoder, found[0], "pid", &event->pid);
    }
    if (found[1] != NULL)
        return read_data_event(decoder, found[1], event);
    if (found[2] != NULL)
        return read_end_event(decoder, found[2], event);
    event->kind = found[3] != NULL ? EVENT_KEEPALIVE : EVENT_NONE;
    return STATUS_OK;
}
