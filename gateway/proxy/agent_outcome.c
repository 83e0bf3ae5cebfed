/* proxy/agent_outcome.c — see agent_outcome.h. */
#include "proxy/agent_outcome.h"

#include <string.h>

/* A grpc-status as text: a number that is no code means that nobody knows. */
static enum connect_code code_of_number(struct slice text)
{
    uint64_t number;

    return slice_to_u64(text, &number) && number < CONNECT_CODE_COUNT ? (enum connect_code)number
                                                                      : CONNECT_UNKNOWN;
}

static bool grpc_status(const struct fields *fields, enum connect_code *out)
{
    const struct field *field = fields_find_named(fields, SLICE("grpc-status"));

    if (field != NULL)
        *out = code_of_number(field->value);
    return field != NULL;
}

/* What follows `mark` in `text` and the blanks after it. */
static bool find_after(struct slice text, const char *mark, struct slice *out)
{
    const char *at = text.len > 0 ? memmem(text.ptr, text.len, mark, strlen(mark)) : NULL;

    if (at == NULL)
        return false;
    *out = slice_skip(text, (size_t)(at - text.ptr) + strlen(mark));
    while (out->len > 0 && (out->ptr[0] == ' ' || out->ptr[0] == ':'))
        *out = slice_skip(*out, 1);
    return true;
}

/* {"code":"not_found",… or {"error":{"code":"not_found",… as every known server writes it: the code
 * first. */
static bool connect_error(struct slice json, enum connect_code *out)
{
    struct slice value;

    if (!find_after(json, "\"code\"", &value) || value.len == 0 || value.ptr[0] != '"')
        return false;
    value = slice_skip(value, 1);
    return connect_code_from_text(slice_first(value, slice_find(value, '"')), out);
}

static bool web_trailers(struct slice block, enum connect_code *out)
{
    struct slice value;

    if (!find_after(block, "grpc-status", &value))
        return false;
    *out = code_of_number(slice_first(value, slice_find(value, '\r')));
    return true;
}

void agent_outcome_head(struct call *call, const struct head *head)
{
    call->relay.keeps_start = call->port == NULL && call->plain == NULL && head->status >= 400 &&
                              call->exec.caller == CALLER_CONNECT_UNARY;
    (void)grpc_status(&head->fields, &call->agents_code);
}

void agent_outcome_end(struct call *call, const struct fields *trailers)
{
    const struct relay *relay = &call->relay;
    struct slice last = stream_edge_last(&relay->edge);
    enum connect_code code = CONNECT_OK;

    if (relay->keeps_start) {
        if (connect_error(last, &code))
            call->agents_code = code;
    } else if (grpc_status(trailers, &code)) {
        call->agents_code = code;
    } else if (relay->tracks_edge && call->exec.caller == CALLER_CONNECT_STREAM) {
        if (connect_error(last, &code))
            call->agents_code = code;
        else if (slice_starts_with_nocase(last, SLICE("{\"error\"")))
            call->agents_code = CONNECT_UNKNOWN;
    } else if (relay->tracks_edge && call->exec.caller == CALLER_GRPC_WEB) {
        if (web_trailers(last, &code))
            call->agents_code = code;
    }
}

enum connect_code agent_outcome_code(const struct call *call)
{
    if (call->outcome != STATUS_OK) {
        struct reply reply = call_reply(call, call->outcome);
        return reply_code(&reply);
    }
    if (call->agents_code != CONNECT_OK || call->client_status < 400)
        return call->agents_code;
    return connect_code_of_http(call->client_status);
}
