/* connect/process_message_proto_decode.c — messages out of binary. The field numbers are those of
 * agent/process.proto. As every proto3 reader does: a field of an unexpected wire type counts as
 * unknown, the last value of a single field wins, a message that comes in several pieces is the
 * merge of them. */
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "connect/process_message_codec.h"
#include "connect/proto_wire.h"

static enum status end_of(const struct decoder *decoder, const struct wire_reader *reader)
{
    return reader->failed ? decoder_refuse(decoder, "message is no valid protobuf") : STATUS_OK;
}

static bool is_bytes(const struct wire_field *field, uint32_t number)
{
    return field->number == number && field->type == WIRE_BYTES;
}

static bool is_varint(const struct wire_field *field, uint32_t number)
{
    return field->number == number && field->type == WIRE_VARINT;
}

/* A `string` of a request must be UTF-8. */
static enum status copy_text(const struct decoder *decoder, struct slice bytes,
                             struct slice *out_text)
{
    if (!utf8_is_valid(bytes))
        return decoder_refuse(decoder, "a text is not UTF-8");
    *out_text = arena_copy(decoder->arena, bytes);
    return STATUS_OK;
}

/* Room for one item more in an array of the arena that doubles; the old array stays until the arena
 * goes. */
static void *grow_array(struct arena *arena, void *items, size_t count, size_t item_bytes)
{
    bool is_full = count == 0 || (count >= 8 && (count & (count - 1)) == 0);

    if (!is_full)
        return items;
    void *more = arena_alloc(arena, (count < 8 ? 8 : count * 2) * item_bytes);
    if (count > 0)
        memcpy(more, items, count * item_bytes);
    return more;
}

/* ProcessConfig.envs: { key = 1, value = 2 } */
static enum status read_variable(const struct decoder *decoder, struct slice message,
                                 struct process_config *config)
{
    struct wire_reader reader = wire_reader_over(message);
    struct process_variable variable = { .name = SLICE_EMPTY, .value = SLICE_EMPTY };
    struct wire_field field;
    enum status status = STATUS_OK;

    if (config->env_count >= MESSAGE_VALUE_COUNT_LIMIT)
        return decoder_refuse(decoder, "too many envs");
    while (status == STATUS_OK && wire_next(&reader, &field)) {
        if (is_bytes(&field, 1))
            status = copy_text(decoder, field.bytes, &variable.name);
        else if (is_bytes(&field, 2))
            status = copy_text(decoder, field.bytes, &variable.value);
    }
    config->envs = grow_array(decoder->arena, config->envs, config->env_count, sizeof(variable));
    config->envs[config->env_count++] = variable;
    return status == STATUS_OK ? end_of(decoder, &reader) : status;
}

static enum status read_argument(const struct decoder *decoder, struct slice bytes,
                                 struct process_config *config)
{
    if (config->arg_count >= MESSAGE_VALUE_COUNT_LIMIT)
        return decoder_refuse(decoder, "too many args");
    config->args = grow_array(decoder->arena, config->args, config->arg_count, sizeof(bytes));
    return copy_text(decoder, bytes, &config->args[config->arg_count++]);
}

static enum status read_config(const struct decoder *decoder, struct slice message,
                               struct process_config *config)
{
    struct wire_reader reader = wire_reader_over(message);
    struct wire_field field;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && wire_next(&reader, &field)) {
        if (is_bytes(&field, 1))
            status = copy_text(decoder, field.bytes, &config->cmd);
        else if (is_bytes(&field, 2))
            status = read_argument(decoder, field.bytes, config);
        else if (is_bytes(&field, 3))
            status = read_variable(decoder, field.bytes, config);
        else if (is_bytes(&field, 4))
            status = copy_text(decoder, field.bytes, &config->cwd);
    }
    return status == STATUS_OK ? end_of(decoder, &reader) : status;
}

/* The last entry of a key wins; getenv(3) would find the first. */
static void drop_repeated_variables(struct process_config *config)
{
    struct map seen = { 0 };
    struct map_entry *entries = mem_alloc(config->env_count * sizeof(*entries));
    size_t kept = config->env_count; /* the kept ones gather at the end of the array */

    for (size_t i = config->env_count; i-- > 0;) {
        if (map_find(&seen, config->envs[i].name) != NULL)
            continue;
        config->envs[--kept] = config->envs[i];
        entries[kept] = (struct map_entry){ .key = config->envs[kept].name };
        map_insert(&seen, &entries[kept]);
    }
    config->envs += kept;
    config->env_count -= kept;
    map_deinit(&seen);
    mem_free(entries);
}

static enum status read_size(const struct decoder *decoder, struct slice message,
                             struct pty_size *size)
{
    struct wire_reader reader = wire_reader_over(message);
    struct wire_field field;

    while (wire_next(&reader, &field)) {
        if (is_varint(&field, 1))
            size->cols = (uint32_t)field.varint;
        else if (is_varint(&field, 2))
            size->rows = (uint32_t)field.varint;
    }
    return end_of(decoder, &reader);
}

static enum status read_pty(const struct decoder *decoder, struct slice message, bool *has_size,
                            struct pty_size *size)
{
    struct wire_reader reader = wire_reader_over(message);
    struct wire_field field;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && wire_next(&reader, &field)) {
        if (!is_bytes(&field, 1))
            continue;
        *has_size = true;
        status = read_size(decoder, field.bytes, size);
    }
    return status == STATUS_OK ? end_of(decoder, &reader) : status;
}

static enum status read_start(const struct decoder *decoder, struct slice message,
                              struct start_request *start)
{
    struct wire_reader reader = wire_reader_over(message);
    struct wire_field field;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && wire_next(&reader, &field)) {
        if (is_bytes(&field, 1)) {
            status = read_config(decoder, field.bytes, &start->process);
        } else if (is_bytes(&field, 2)) {
            start->has_pty = true;
            status = read_pty(decoder, field.bytes, &start->has_pty_size, &start->pty);
        } else if (is_bytes(&field, 3)) {
            status = copy_text(decoder, field.bytes, &start->tag);
        } else if (is_varint(&field, 4)) {
            start->has_stdin = true;
            start->stdin_enabled = field.varint != 0;
        }
    }
    if (status == STATUS_OK && start->process.env_count > 1)
        drop_repeated_variables(&start->process);
    return status == STATUS_OK ? end_of(decoder, &reader) : status;
}

static enum status read_selector(const struct decoder *decoder, struct slice message,
                                 struct process_selector *selector)
{
    struct wire_reader reader = wire_reader_over(message);
    struct wire_field field;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && wire_next(&reader, &field)) {
        if (is_varint(&field, 1)) {
            *selector = (struct process_selector){ .has_pid = true, .pid = (uint32_t)field.varint };
        } else if (is_bytes(&field, 2)) {
            *selector = (struct process_selector){ .has_tag = true };
            status = copy_text(decoder, field.bytes, &selector->tag);
        }
    }
    return status == STATUS_OK ? end_of(decoder, &reader) : status;
}

static enum status read_input(const struct decoder *decoder, struct slice message,
                              struct process_input *input)
{
    struct wire_reader reader = wire_reader_over(message);
    struct wire_field field;

    while (wire_next(&reader, &field)) {
        if (!is_bytes(&field, 1) && !is_bytes(&field, 2))
            continue;
        input->kind = field.number == 1 ? INPUT_STDIN : INPUT_PTY;
        input->bytes = field.bytes;
    }
    input->bytes = arena_copy(decoder->arena, input->bytes);
    return end_of(decoder, &reader);
}

/* StreamInputRequest's `start` { process = 1 } or `data` { input = 2 }. */
static enum status read_stream_part(const struct decoder *decoder, struct slice message,
                                    struct process_request *request)
{
    struct wire_reader reader = wire_reader_over(message);
    struct wire_field field;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && wire_next(&reader, &field)) {
        if (request->stream_input == STREAM_INPUT_START && is_bytes(&field, 1))
            status = read_selector(decoder, field.bytes, &request->selector);
        else if (request->stream_input == STREAM_INPUT_DATA && is_bytes(&field, 2))
            status = read_input(decoder, field.bytes, &request->input);
    }
    return status == STATUS_OK ? end_of(decoder, &reader) : status;
}

static enum status read_stream_input(const struct decoder *decoder, struct slice message,
                                     struct process_request *request)
{
    static const enum stream_input_kind kinds[] = { STREAM_INPUT_NONE, STREAM_INPUT_START,
                                                    STREAM_INPUT_DATA, STREAM_INPUT_KEEPALIVE };
    struct wire_reader reader = wire_reader_over(message);
    struct wire_field field;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && wire_next(&reader, &field)) {
        if (field.type != WIRE_BYTES || field.number > 3)
            continue;
        request->stream_input = kinds[field.number];
        status = read_stream_part(decoder, field.bytes, request);
    }
    return status == STATUS_OK ? end_of(decoder, &reader) : status;
}

/* Connect, Update, SendInput, SendSignal and CloseStdin: `process` = 1, and at most one field of
 * their own. */
static enum status read_selecting(const struct decoder *decoder, enum process_method method,
                                  struct slice message, struct process_request *request)
{
    struct wire_reader reader = wire_reader_over(message);
    struct wire_field field;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && wire_next(&reader, &field)) {
        if (is_bytes(&field, 1)) {
            status = read_selector(decoder, field.bytes, &request->selector);
        } else if (method == METHOD_UPDATE && is_bytes(&field, 2)) {
            request->has_pty = true;
            status = read_pty(decoder, field.bytes, &request->has_pty_size, &request->pty);
        } else if (method == METHOD_SEND_INPUT && is_bytes(&field, 2)) {
            status = read_input(decoder, field.bytes, &request->input);
        } else if (method == METHOD_SEND_SIGNAL && is_varint(&field, 2)) {
            request->signal = (int32_t)(uint32_t)field.varint;
        }
    }
    return status == STATUS_OK ? end_of(decoder, &reader) : status;
}

static enum status read_nothing(const struct decoder *decoder, struct slice message)
{
    struct wire_reader reader = wire_reader_over(message);
    struct wire_field field;

    while (wire_next(&reader, &field))
        continue;
    return end_of(decoder, &reader);
}

enum status proto_decode_request(const struct decoder *decoder, enum process_method method,
                                 struct slice message, struct process_request *request)
{
    if (method == METHOD_START)
        return read_start(decoder, message, &request->start);
    if (method == METHOD_STREAM_INPUT)
        return read_stream_input(decoder, message, request);
    if (method == METHOD_LIST)
        return read_nothing(decoder, message);
    return read_selecting(decoder, method, message, request);
}

/* A oneof: another member takes the place of what came before. */
static void become_event(struct process_event *event, enum process_event_kind kind)
{
    if (event->kind != kind)
        *event = (struct process_event){ .kind = kind };
}

static enum status read_start_event(const struct decoder *decoder, struct slice message,
                                    struct process_event *event)
{
    struct wire_reader reader = wire_reader_over(message);
    struct wire_field field;

    become_event(event, EVENT_START);
    while (wire_next(&reader, &field))
        if (is_varint(&field, 1))
            event->pid = (uint32_t)field.varint;
    return end_of(decoder, &reader);
}

static enum status read_data_event(const struct decoder *decoder, struct slice message,
                                   struct process_event *event)
{
    static const enum process_event_kind kinds[] = { EVENT_NONE, EVENT_STDOUT, EVENT_STDERR,
                                                     EVENT_PTY };
    struct wire_reader reader = wire_reader_over(message);
    struct wire_field field;

    if (event->kind != EVENT_STDOUT && event->kind != EVENT_STDERR && event->kind != EVENT_PTY)
        become_event(event, EVENT_NONE);
    while (wire_next(&reader, &field)) {
        if (field.type != WIRE_BYTES || field.number > 3)
            continue;
        become_event(event, kinds[field.number]);
        event->bytes = field.bytes;
    }
    event->bytes = arena_copy(decoder->arena, event->bytes);
    return end_of(decoder, &reader);
}

static enum status read_end_event(const struct decoder *decoder, struct slice message,
                                  struct process_event *event)
{
    struct wire_reader reader = wire_reader_over(message);
    struct wire_field field;

    become_event(event, EVENT_END);
    while (wire_next(&reader, &field)) {
        if (is_varint(&field, 1))
            event->exit_code = wire_zigzag_decode(field.varint);
        else if (is_varint(&field, 2))
            event->exited = field.varint != 0;
        else if (is_bytes(&field, 3))
            event->status = arena_copy(decoder->arena, field.bytes);
        else if (is_bytes(&field, 4))
            event->error = arena_copy(decoder->arena, field.bytes);
    }
    return end_of(decoder, &reader);
}

static enum status read_event(const struct decoder *decoder, struct slice message,
                              struct process_event *event)
{
    struct wire_reader reader = wire_reader_over(message);
    struct wire_field field;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && wire_next(&reader, &field)) {
        if (is_bytes(&field, 1))
            status = read_start_event(decoder, field.bytes, event);
        else if (is_bytes(&field, 2))
            status = read_data_event(decoder, field.bytes, event);
        else if (is_bytes(&field, 3))
            status = read_end_event(decoder, field.bytes, event);
        else if (is_bytes(&field, 4))
            become_event(event, EVENT_KEEPALIVE);
    }
    return status == STATUS_OK ? end_of(decoder, &reader) : status;
}

enum status proto_decode_event(const struct decoder *decoder, struct slice message,
                               struct process_event *event)
{
    struct wire_reader reader = wire_reader_over(message);
    struct wire_field field;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && wire_next(&reader, &field))
        if (is_bytes(&field, 1))
            status = read_event(decoder, field.bytes, event);
    return status == STATUS_OK ? end_of(decoder, &reader) : status;
}
