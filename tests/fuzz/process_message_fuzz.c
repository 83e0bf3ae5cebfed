/* Messages: the first byte picks the codec and the method (or the event). What was understood is
 * written and read again in both codecs and must come out as the same bytes. */
#include "fuzz.h"

#include "connect/process_message.h"

static bool has_nul(struct slice text)
{
    return slice_find(text, '\0') < text.len;
}

/* JSON cannot carry a NUL in a text back through our reader. */
static bool is_json_able(const struct start_request *start)
{
    const struct process_config *process = &start->process;
    bool found = has_nul(process->cmd) || has_nul(process->cwd) || has_nul(start->tag);

    for (size_t i = 0; i < process->arg_count; i++)
        found |= has_nul(process->args[i]);
    for (size_t i = 0; i < process->env_count; i++)
        found |= has_nul(process->envs[i].name) || has_nul(process->envs[i].value);
    return !found;
}

static void check_start(const struct start_request *start, enum message_codec codec)
{
    struct arena arena;
    struct process_request again;
    struct buf first = { 0 };
    struct buf second = { 0 };

    arena_init(&arena, NULL, 0);
    start_request_encode(codec, start, &first);
    ENSURE(process_request_decode(METHOD_START, codec, buf_slice(&first), &arena, &again, NULL) ==
           STATUS_OK);
    ENSURE(again.start.process.arg_count == start->process.arg_count);
    ENSURE(again.start.process.env_count == start->process.env_count);
    start_request_encode(codec, &again.start, &second);
    ENSURE(slice_equal(buf_slice(&first), buf_slice(&second)));
    buf_deinit(&first);
    buf_deinit(&second);
    arena_deinit(&arena);
}

/* Texts of a foreign agent need not be UTF-8: JSON replaces what is not, and only then stays as it
 * is. */
static void check_event(const struct process_event *event, enum message_codec codec)
{
    struct arena arena;
    struct process_event again;
    struct buf first = { 0 };
    struct buf second = { 0 };

    arena_init(&arena, NULL, 0);
    process_event_encode(codec, event, &first);
    enum status status = process_event_decode(codec, buf_slice(&first), &arena, &again);
    bool may_fail = codec == MESSAGE_JSON && (has_nul(event->status) || has_nul(event->error));
    ENSURE(status == STATUS_OK || may_fail);
    if (status == STATUS_OK) {
        ENSURE(again.kind == event->kind && slice_equal(again.bytes, event->bytes));
        process_event_encode(codec, &again, &second);
        ENSURE(slice_equal(buf_slice(&first), buf_slice(&second)));
    }
    buf_deinit(&first);
    buf_deinit(&second);
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct process_request request;
    struct process_event event;
    struct buf error = { 0 };

    if (size == 0)
        return 0;
    enum message_codec codec = (data[0] & 0x10) != 0 ? MESSAGE_PROTO : MESSAGE_JSON;
    unsigned choice = data[0] & 0x0f;
    struct slice message = slice_of(data + 1, size - 1);
    arena_init(&arena, NULL, 0);
    if (choice >= PROCESS_METHOD_COUNT) {
        if (process_event_decode(codec, message, &arena, &event) == STATUS_OK) {
            check_event(&event, MESSAGE_JSON);
            check_event(&event, MESSAGE_PROTO);
        }
    } else if (process_request_decode((enum process_method)choice, codec, message, &arena, &request,
                                      &error) == STATUS_OK &&
               choice == METHOD_START) {
        if (is_json_able(&request.start))
            check_start(&request.start, MESSAGE_JSON);
        check_start(&request.start, MESSAGE_PROTO);
    }
    buf_deinit(&error);
    arena_deinit(&arena);
    return 0;
}
