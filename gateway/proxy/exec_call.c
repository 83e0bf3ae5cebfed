/* proxy/exec_call.c — the kind of call that the exec host takes: one of the eight methods of
 * process.Process, or /health of a computer. What needs no computer (preflight, /, /health without
 * a token) is answered here. */
#include "proxy/call.h"
#include "proxy/forward_headers.h"
#include "proxy/port_request.h"

static const char root_text[] =
    "{\"service\":\"process.Process\",\"base_path\":\"/process.Process/\","
    "\"protocols\":[\"connect\",\"grpc\",\"grpc-web\",\"plain-json\"]}\n";

static const char root_page[] =
    "<!doctype html><html lang=en><meta charset=utf-8>"
    "<meta name=viewport content=\"width=device-width\"><title>exec</title><style>"
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:40em;"
    "margin:15vh auto;padding:0 1em}pre{overflow-x:auto}</style><h1>exec</h1>"
    "<p>This host runs commands on computers. Programs call it; try one:"
    "<pre>curl -X POST $connect_url/process.Process/Start \\\n"
    "  -H \"Authorization: Bearer $connect_token\" \\\n"
    "  -H 'Content-Type: application/json' \\\n"
    "  -d '{\"command\": [\"ls\", \"-la\"]}'</pre></html>\n";

static void answer_options(struct call *call)
{
    struct exchange *client = call_client(call);
    struct head head;

    call_begin_answer(call, 204, &head);
    if (cors_is_preflight(&client->request)) {
        head.fields.count = 0; /* the preflight's own set */
        cors_add_preflight_fields(cors_allowed_origin(&call->config->cors, &client->request.fields),
                                  &client->arena, &head.fields);
        fields_add(&head.fields, &client->arena, FIELD_X_REQUEST_ID, call->request_id);
    }
    fields_add_named(&head.fields, &client->arena, SLICE("allow"),
                     call->exec.target == EXEC_TARGET_METHOD ? SLICE("POST, OPTIONS")
                                                             : SLICE("GET, HEAD, OPTIONS"));
    call_answer(call, &head, SLICE_EMPTY, SLICE_EMPTY);
}

static void answer_health(struct call *call)
{
    bool is_draining = call->proxy->is_draining;
    struct head head;

    call_begin_answer(call, is_draining ? 503 : 200, &head);
    call_answer(call, &head, SLICE("application/json"),
                is_draining ? SLICE("{\"status\":\"draining\"}\n")
                            : SLICE("{\"status\":\"ok\"}\n"));
}

static void answer_root(struct call *call)
{
    struct head head;

    call_begin_answer(call, 200, &head);
    if (call->exec.caller == CALLER_PAGE)
        call_answer(call, &head, SLICE("text/html; charset=utf-8"),
                    slice_of(root_page, sizeof(root_page) - 1));
    else
        call_answer(call, &head, SLICE("application/json"),
                    slice_of(root_text, sizeof(root_text) - 1));
}

/* AGAIN: it was, and is done. */
static enum status answer_by_itself(struct call *call)
{
    bool is_options = slice_equal(call_client(call)->request.method, SLICE("OPTIONS"));
    bool is_local_health = call->exec.target == EXEC_TARGET_HEALTH && call->exec.token.len == 0;

    if (is_options)
        answer_options(call);
    else if (is_local_health)
        answer_health(call);
    else if (call->exec.target == EXEC_TARGET_ROOT)
        answer_root(call);
    else
        return STATUS_OK;
    return STATUS_AGAIN;
}

static void count_call(struct call *call)
{
    struct proxy_counters *counters = &call->proxy->counters;

    if (call->exec.target == EXEC_TARGET_METHOD)
        counter_add(&counters->calls[call->exec.method], 1);
    else
        counter_add(&counters->calls_other, 1);
}

static enum status check_principal(const struct call *call)
{
    const struct principal *principal = call->principal;
    struct slice named = call->exec.named_computer;

    if (principal->kind != PRINCIPAL_EXEC)
        return STATUS_TOKEN_KIND;
    if ((principal->capabilities & CAPABILITY_PROCESS) == 0)
        return STATUS_TOKEN_CAPABILITY;
    if (named.len > 0 && !slice_equal(named, principal->computer_id))
        return STATUS_TOKEN_COMPUTER;
    return STATUS_OK;
}

/* The order matters: a path that does not exist is told before anything is looked up, so that it
 * tells nothing else; that memory is short comes before the token, which costs. */
static enum status exec_authorize(struct call *call)
{
    enum status status = exec_request_parse(&call_client(call)->request, &call->exec, &call->words);

    count_call(call);
    if (status == STATUS_OK)
        status = answer_by_itself(call);
    if (status == STATUS_OK && call->proxy->is_overloaded)
        status = STATUS_OVERLOADED;
    if (status == STATUS_OK && call->exec.token.len == 0)
        status = STATUS_TOKEN_MISSING;
    if (status == STATUS_OK)
        status = conn_memo_verify(call->memo, call->proxy->tokens, loop_clock(call->proxy->loop),
                                  call->exec.token, TOKEN_USE_EXEC, &call->principal);
    if (status == STATUS_OK)
        status = check_principal(call);
    call->is_health = call->exec.target == EXEC_TARGET_HEALTH;
    return status;
}

static struct forward_identity identity_of(const struct call *call)
{
    const struct exchange *client = call_client(call);
    const struct principal *principal = call->principal;

    return (struct forward_identity){
        .computer_id = principal->computer_id,
        .session_id = principal->session_id,
        .user_id = principal->user_id,
        .agent_token = call->computer->computer.agent_token,
        .request_id = call->request_id,
        .traceparent = call->traceparent,
        .peer_ip = slice_of(call->memo->peer_ip, call->memo->peer_ip_len),
        .peer_is_trusted = call->memo->peer_is_trusted,
        .scheme = client->link->tls.version != NULL ? SLICE("https") : SLICE("http"),
        .authority = client->request.authority,
        .drop_authorization = call->exec.bearer_is_ours,
        .keepalive_s = call->exec.keepalive_s,
    };
}

/* The plain form asks the agent in the Connect protocol, uncompressed. */
static void make_plain_fields(struct call *call, struct head *head)
{
    struct arena *arena = &call->heads;
    struct fields kept = { 0 };

    for (size_t i = 0; i < head->fields.count; i++) {
        const struct field *field = &head->fields.items[i];
        if (field->id != FIELD_ACCEPT && field->id != FIELD_ACCEPT_ENCODING &&
            field->id != FIELD_CONNECT_ACCEPT_ENCODING && field->id != FIELD_CONTENT_TYPE &&
            field->id != FIELD_CONTENT_LENGTH && field->id != FIELD_CONNECT_PROTOCOL_VERSION &&
            field->id != FIELD_CONNECT_CONTENT_ENCODING && field->id != FIELD_ORIGIN)
            fields_add_named(&kept, arena, field->name, field->value);
    }
    fields_add(&kept, arena, FIELD_CONTENT_TYPE, SLICE("application/connect+json"));
    fields_add(&kept, arena, FIELD_CONNECT_PROTOCOL_VERSION, SLICE("1"));
    fields_add(&kept, arena, FIELD_CONTENT_LENGTH,
               arena_printf(arena, "%zu", call->relay.held.len));
    head->fields = kept;
    head->content_length = (int64_t)call->relay.held.len;
}

/* A browser's cookie for ports, and the subprotocol of their WebSockets, carry tokens, which are
 * taken off wherever they are met, though they do not count here. */
static void take_off_port_tokens(struct fields *fields, struct arena *arena)
{
    size_t kept = 0;

    for (size_t i = 0; i < fields->count; i++) {
        struct field field = fields->items[i];

        if (port_field_without_ours(&field, arena) || fields->items[i].value.len == 0)
            fields->items[kept++] = field;
    }
    fields->count = kept;
}

static void exec_make_request(struct call *call, struct head *out)
{
    const struct head *request = &call_client(call)->request;
    struct arena *arena = &call->heads;
    struct forward_identity identity = identity_of(call);

    *out = (struct head){
        .method = request->method,
        .scheme = call->computer->computer.tls == AGENT_TLS_OFF ? SLICE("http") : SLICE("https"),
        .authority = call->computer->computer.agent,
        .target = exec_request_target(&call->exec, request->target, arena),
        .protocol = SLICE_EMPTY,
        .fields = out->fields,
        .content_length = request->content_length,
    };
    forward_request_fields(&request->fields, &identity, arena, &out->fields);
    take_off_port_tokens(&out->fields, arena);
    if (call->plain != NULL)
        make_plain_fields(call, out);
}

const struct call_kind call_kind_exec = {
    .name = "exec",
    .authorize = exec_authorize,
    .make_request = exec_make_request,
};
