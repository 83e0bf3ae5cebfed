/* proxy/plain_call.c — see plain_call.h. The agent is read only as fast as the client takes what
 * becomes of it. */
#include "proxy/plain_call.h"

#include "proxy/plain_json.h"

/* While the client has less than this before it, more is taken from the agent. */
enum { LOW_BYTES = 32 * 1024, SCRATCH_KEPT_BYTES = 256 * 1024 };

struct plain_call {
    struct buf body; /* the request, until it is framed */
    struct plain_request request;
    struct plain_answer answer;
    size_t taken_bytes; /* of the agent, not consumed yet */
    uint64_t wait_ms;
    bool is_too_large;
};

struct plain_call *plain_call_create(struct call *call)
{
    struct exchange *client = call_client(call);
    struct plain_call *plain = arena_alloc(&client->arena, sizeof(*plain));
    struct slice accept = fields_value(&client->request.fields, FIELD_ACCEPT);

    memset(plain, 0, sizeof(*plain));
    /* What came while the host was looked up is the beginning of the body. */
    if (call->relay.held.len > 0)
        exchange_consumed(client, call->relay.held.len);
    plain->body = call->relay.held;
    call->relay.held = (struct buf){ 0 };
    plain_answer_init(&plain->answer, plain_json_kind(accept),
                      call->config->options.plain_json_bytes);
    return plain;
}

void plain_call_deinit(struct call *call)
{
    buf_deinit(&call->plain->body);
    plain_answer_deinit(&call->plain->answer);
}

enum status plain_call_check(const struct call *call)
{
    const struct head *head = &call_client(call)->request;
    struct slice coding = fields_value(&head->fields, FIELD_CONTENT_ENCODING);

    if (coding.len > 0 && !slice_equal_nocase(coding, SLICE("identity")))
        return STATUS_UNSUPPORTED_MEDIA;
    if (head->content_length > 0 &&
        (uint64_t)head->content_length > call->config->options.plain_json_bytes)
        return STATUS_BODY_TOO_LARGE;
    return STATUS_OK;
}

/* ---- the request ---- */

void plain_call_body(struct call *call, struct slice bytes)
{
    struct plain_call *plain = call->plain;

    call->relay.request_bytes += bytes.len;
    exchange_consumed(call_client(call), bytes.len);
    if (plain->is_too_large)
        return;
    plain->is_too_large = plain->body.len + bytes.len > call->config->options.plain_json_bytes;
    if (plain->is_too_large)
        buf_deinit(&plain->body);
    else
        buf_append(&plain->body, bytes);
}

bool plain_call_is_collected(const struct call *call)
{
    return call->plain->is_too_large || call_client(call)->in_ended;
}

static void choose_wait(struct call *call)
{
    const struct proxy_options *options = &call->config->options;
    struct plain_call *plain = call->plain;

    plain->wait_ms = call->exec.has_wait_ms       ? call->exec.wait_ms
                     : plain->request.has_wait_ms ? plain->request.wait_ms
                                                  : options->plain_wait_ms;
    if (plain->wait_ms > options->plain_wait_max_ms)
        plain->wait_ms = options->plain_wait_max_ms;
}

enum status plain_call_frame(struct call *call)
{
    struct plain_call *plain = call->plain;
    struct arena *arena = &call_client(call)->arena;
    struct buf error = { 0 };

    if (plain->is_too_large)
        return STATUS_BODY_TOO_LARGE;
    enum status status = plain_request_frame(call->exec.method, buf_slice(&plain->body), arena,
                                             &plain->request, &call->relay.held, &error);
    plain->answer.tag = arena_copy(arena, plain->request.tag);
    buf_deinit(&plain->body);
    if (status == STATUS_OK)
        choose_wait(call);
    else if (error.len > 0)
        call->words = arena_printf(arena, "%.*s", SLICE_ARGS(buf_slice(&error))).ptr;
    buf_deinit(&error);
    return status;
}

/* ---- the answer ---- */

static bool is_document(const struct call *call)
{
    return call->plain->answer.kind == PLAIN_DOCUMENT;
}

static void consume_if_low(struct call *call)
{
    struct plain_call *plain = call->plain;

    if (call->relay.upstream == NULL || call_client(call)->out.len > LOW_BYTES)
        return;
    exchange_consumed(call->relay.upstream, plain->taken_bytes);
    plain->taken_bytes = 0;
}

void plain_call_drained(struct call *call)
{
    consume_if_low(call);
}

static void send_stream_head(struct call *call)
{
    struct exchange *client = call_client(call);
    struct head head;

    if (client->head_sent)
        return;
    call_begin_answer(call, 200, &head);
    fields_add(&head.fields, &client->arena, FIELD_CONTENT_TYPE,
               plain_json_content_type(call->plain->answer.kind));
    fields_add_named(&head.fields, &client->arena, SLICE("x-accel-buffering"), SLICE("no"));
    call->client_status = 200;
    exchange_send_head(client, &head, false);
}

void plain_call_response_head(struct call *call, const struct head *head)
{
    struct slice type = fields_value(&head->fields, FIELD_CONTENT_TYPE);
    bool is_stream = slice_starts_with_nocase(type, SLICE("application/connect+json"));

    if (head->status == 200 && is_stream) {
        if (is_document(call))
            call->wait_due_ms = call_now_ms(call) + call->plain->wait_ms;
        return;
    }
    call->words = arena_printf(&call_client(call)->arena,
                               "the computer's agent answered with HTTP status %u", head->status)
                      .ptr;
    call_fail(call, STATUS_AGENT_PROTOCOL);
}

/* Sends the document as it stands: the process has ended, or goes on without us. */
static void answer_document(struct call *call)
{
    struct head head;
    struct buf body = { 0 };

    buf_append_byte(&body, '{');
    plain_answer_append_document(&call->plain->answer, &body);
    buf_append(&body, SLICE("}\n"));
    call_begin_answer(call, 200, &head);
    call_answer(call, &head, SLICE("application/json"), buf_slice(&body));
    buf_deinit(&body);
}

void plain_call_waited(struct call *call)
{
    if (call->state == CALL_RELAYING)
        answer_document(call);
}

/* The process has ended: what may still come on the agent's stream changes nothing. */
static void answer_end(struct call *call)
{
    struct exchange *client = call_client(call);

    call->ended_by = ENDED_BY_AGENT;
    if (is_document(call)) {
        answer_document(call);
        return;
    }
    exchange_end(client, NULL);
    call_finish(call, STATUS_OK, ENDED_BY_AGENT);
}

void plain_call_response_body(struct call *call, struct slice bytes)
{
    struct plain_call *plain = call->plain;
    struct exchange *client = call_client(call);
    struct buf *into = &call->proxy->scratch;

    call->relay.response_bytes += bytes.len;
    plain->taken_bytes += bytes.len;
    enum status status = plain_answer_feed(&plain->answer, bytes, into);
    if (into->len > 0) {
        send_stream_head(call);
        exchange_write(client, buf_slice(into));
    }
    if (into->capacity > SCRATCH_KEPT_BYTES)
        buf_deinit(into);
    buf_clear(into);
    if (status != STATUS_OK)
        call_fail(call, status);
    else if (plain->answer.has_end)
        answer_end(call);
    else if (plain->answer.is_truncated)
        answer_document(call);
    else if ((call->agents_code = plain->answer.error) != CONNECT_OK)
        call_pass_error(call);
    else
        consume_if_low(call);
}

void plain_call_response_end(struct call *call)
{
    call->ended_by = ENDED_BY_AGENT;
    call->words = "the computer's agent ended the stream before the process ended";
    call_fail(call, STATUS_AGENT_LOST);
}

/* ---- failures ---- */

/* The agent's own error is told in its own words. */
static struct reply with_agents_words(const struct call *call, const struct reply *reply)
{
    const struct plain_answer *answer = &call->plain->answer;
    struct reply told = *reply;

    if (!reply->is_agents)
        return told;
    told.code = answer->error;
    told.http = connect_code_http(answer->error);
    told.words = answer->error_message.len > 0
                     ? arena_printf(&call_client(call)->arena, "%.*s",
                                    SLICE_ARGS(buf_slice(&answer->error_message)))
                           .ptr
                     : connect_code_text(answer->error);
    return told;
}

/* What the process had said until then stands beside the error. */
static void fail_document(struct call *call, const struct reply *reply)
{
    struct buf body = { 0 };
    struct head head;
    unsigned http = reply->http != 0 ? reply->http : status_http(reply->status);

    reply_append_json(&body, reply);
    if (call->plain->answer.has_pid) {
        buf_append_byte(&body, ',');
        plain_answer_append_document(&call->plain->answer, &body);
    }
    buf_append(&body, SLICE("}\n"));
    reply_begin_head(call_client(call), reply, http, &head);
    reply_add_error_fields(call_client(call), reply, &head);
    call->client_status = http;
    reply_send_body(call_client(call), &head, SLICE("application/json"), buf_slice(&body), false);
    buf_deinit(&body);
}

static void fail_stream(struct call *call, const struct reply *reply)
{
    struct exchange *client = call_client(call);
    struct buf members = { 0 }, line = { 0 };

    reply_append_json(&members, reply);
    plain_answer_append_error(&call->plain->answer, slice_skip(buf_slice(&members), 1), &line);
    exchange_write(client, buf_slice(&line));
    exchange_end(client, NULL);
    buf_deinit(&members);
    buf_deinit(&line);
}

bool plain_call_fail(struct call *call, const struct reply *reply)
{
    struct reply told = with_agents_words(call, reply);

    call->words = told.words;
    if (!call_client(call)->head_sent) {
        fail_document(call, &told);
        call_replied(call);
        return true;
    }
    if (call_client(call)->is_dead || call_client(call)->out_ended)
        return false;
    fail_stream(call, &told);
    call_replied(call);
    return true;
}
