/* connect/process_message.c — see process_message.h: the table of methods, the choice of the codec,
 * and the rules that hold in both codecs. */
#include "connect/process_message.h"

#include <stdarg.h>

#include "connect/process_message_codec.h"

static const struct {
    const char *name;
    bool is_server_stream, is_client_stream;
    bool needs_selector;
} methods[PROCESS_METHOD_COUNT] = {
    [METHOD_START] = { "Start", true, false, false },
    [METHOD_CONNECT] = { "Connect", true, false, true },
    [METHOD_LIST] = { "List", false, false, false },
    [METHOD_UPDATE] = { "Update", false, false, true },
    [METHOD_SEND_INPUT] = { "SendInput", false, false, true },
    [METHOD_STREAM_INPUT] = { "StreamInput", false, true, false },
    [METHOD_SEND_SIGNAL] = { "SendSignal", false, false, true },
    [METHOD_CLOSE_STDIN] = { "CloseStdin", false, false, true },
};

const char *process_method_text(enum process_method method)
{
    ENSURE(method < PROCESS_METHOD_COUNT);
    return methods[method].name;
}

bool process_method_from_path(struct slice path, enum process_method *out_method)
{
    struct slice service = SLICE("/process.Process/");

    if (!slice_starts_with(path, service))
        return false;
    for (unsigned i = 0; i < PROCESS_METHOD_COUNT; i++) {
        if (slice_equal(slice_skip(path, service.len), slice_from_string(methods[i].name))) {
            *out_method = (enum process_method)i;
            return true;
        }
    }
    return false;
}

bool process_method_is_server_stream(enum process_method method)
{
    ENSURE(method < PROCESS_METHOD_COUNT);
    return methods[method].is_server_stream;
}

bool process_method_is_client_stream(enum process_method method)
{
    ENSURE(method < PROCESS_METHOD_COUNT);
    return methods[method].is_client_stream;
}

enum status decoder_refuse(const struct decoder *decoder, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (decoder->error != NULL)
        buf_vprintf(decoder->error, format, arguments);
    va_end(arguments);
    return STATUS_MALFORMED;
}

/* execve, openat and setenv would cut such a text short. */
static bool has_nul(struct slice text)
{
    return slice_find(text, '\0') < text.len;
}

static enum status check_config(const struct decoder *decoder, const struct process_config *config)
{
    bool nul = has_nul(config->cmd) || has_nul(config->cwd);

    if (config->cmd.len == 0)
        return decoder_refuse(decoder, "process.cmd is required");
    for (size_t i = 0; i < config->arg_count && !nul; i++)
        nul = has_nul(config->args[i]);
    for (size_t i = 0; i < config->env_count && !nul; i++)
        nul = has_nul(config->envs[i].name) || has_nul(config->envs[i].value);
    return nul ? decoder_refuse(decoder, "process has a NUL in a text") : STATUS_OK;
}

static enum status check_request(const struct decoder *decoder, enum process_method method,
                                 const struct process_request *request)
{
    const struct process_selector *selector = &request->selector;
    bool needs_selector =
        methods[method].needs_selector ||
        (method == METHOD_STREAM_INPUT && request->stream_input == STREAM_INPUT_START);

    if (needs_selector && selector->has_pid == selector->has_tag)
        return decoder_refuse(decoder, "process must be selected by exactly one of pid and tag");
    return method == METHOD_START ? check_config(decoder, &request->start.process) : STATUS_OK;
}

enum status process_request_decode(enum process_method method, enum message_codec codec,
                                   struct slice message, struct arena *arena,
                                   struct process_request *out_request, struct buf *out_error)
{
    struct decoder decoder = { .arena = arena, .error = out_error };

    ENSURE(method < PROCESS_METHOD_COUNT);
    *out_request = (struct process_request){ .start.stdin_enabled = true };
    enum status status = codec == MESSAGE_JSON
                             ? json_decode_request(&decoder, method, message, out_request)
                             : proto_decode_request(&decoder, method, message, out_request);
    return status == STATUS_OK ? check_request(&decoder, method, out_request) : status;
}

enum status process_event_decode(enum message_codec codec, struct slice message,
                                 struct arena *arena, struct process_event *out_event)
{
    struct decoder decoder = { .arena = arena };

    *out_event = (struct process_event){ .kind = EVENT_NONE };
    return codec == MESSAGE_JSON ? json_decode_event(&decoder, message, out_event)
                                 : proto_decode_event(&decoder, message, out_event);
}

void process_event_encode(enum message_codec codec, const struct process_event *event,
                          struct buf *into)
{
    (codec == MESSAGE_JSON ? json_encode_event : proto_encode_event)(event, into);
}

void process_list_encode(enum message_codec codec, const struct process_info *infos, size_t count,
                         struct buf *into)
{
    (codec == MESSAGE_JSON ? json_encode_list : proto_encode_list)(infos, count, into);
}

void process_empty_encode(enum message_codec codec, struct buf *into)
{
    if (codec == MESSAGE_JSON)
        buf_append(into, SLICE("{}"));
}

void start_request_encode(enum message_codec codec, const struct start_request *request,
                          struct buf *into)
{
    (codec == MESSAGE_JSON ? json_encode_start_request : proto_encode_start_request)(request, into);
}
