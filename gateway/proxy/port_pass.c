/* proxy/port_pass.c — see port_pass.h.
 *
 *     client, HTTP/1.1  GET, Upgrade: websocket ─▶ the same ─▶ app      101 ─▶ 101
 *     client, HTTP/2    CONNECT, :protocol websocket ─▶ GET, Upgrade    101 ─▶ 200 (RFC 8441)
 *
 * Of a WebSocket nothing is read: subprotocols, extensions and frames are between client and app. */
#include "proxy/port_pass.h"

#include "proxy/forward_headers.h"

enum { HEAD_MEMORY_BYTES = 2048, HALF_CLOSED_MS = 60000 };

struct slice port_pass_scheme(const struct call *call)
{
    const struct exchange *client = call_client(call);
    struct slice said = fields_value(&client->request.fields, FIELD_X_FORWARDED_PROTO);

    if (call->memo->peer_is_trusted && said.len > 0)
        return slice_equal_nocase(said, SLICE("https")) ? SLICE("https") : SLICE("http");
    return client->link->tls.version != NULL ? SLICE("https") : SLICE("http");
}

enum { CLOSE_REASON_BYTES_MAX = 123 };

static struct port_names names_of(const struct call *call)
{
    const struct host *host = &call->port->record->host;

    return (struct port_names){
        .mode = host->host_header,
        .port = host->port,
        .scheme = port_pass_scheme(call),
        .authority = call->port->authority,
    };
}

/* ---- the request ---- */

static bool authorization_is_ours(const struct port_request *request)
{
    for (size_t i = 0; i < request->token_count; i++)
        if (request->tokens[i].place == PLACE_AUTHORIZATION && request->tokens[i].is_ours)
            return true;
    return false;
}

static struct forward_identity identity_of(const struct call *call, const struct port_names *names)
{
    const struct principal *principal = call->principal;

    return (struct forward_identity){
        .computer_id = call->computer->id,
        .session_id = principal != NULL ? principal->session_id : SLICE_EMPTY,
        .user_id = principal != NULL ? principal->user_id : SLICE_EMPTY,
        .agent_token = SLICE_EMPTY, /* the agent's secret is not for apps */
        .request_id = call->request_id,
        .traceparent = call->traceparent,
        .peer_ip = slice_of(call->memo->peer_ip, call->memo->peer_ip_len),
        .peer_is_trusted = call->memo->peer_is_trusted,
        .scheme = names->scheme,
        .authority = names->authority,
        .drop_authorization = authorization_is_ours(&call->port->request),
        .is_port = true,
        .port = port_forwarded_port(names),
    };
}

/* False: the field does not go to the app. */
static bool adapt_field(const struct call *call, const struct port_names *names,
                        struct field *field, struct arena *arena)
{
    const struct port_request *request = &call->port->request;
    bool is_extended = request->is_websocket && call_client(call)->link->version == HTTP_2;

    switch (field->id) {
    case FIELD_ORIGIN:
        field->value = port_origin_value(names, field->value, arena);
        return true;
    case FIELD_REFERER:
        field->value = port_referer_value(names, field->value, arena);
        return true;
    case FIELD_SEC_WEBSOCKET_KEY:
        return !is_extended;
    case FIELD_CONTENT_LENGTH:
        return !request->is_preflight && !request->is_websocket;
    case FIELD_EXPECT: /* only with content (RFC 9110 §10.1.1): some apps would wait for it */
        return !request->is_preflight && !request->is_websocket &&
               !relay_request_is_empty(&call->relay);
    default:
        return port_field_without_ours(field, arena);
    }
}

static void adapt_fields(const struct call *call, const struct port_names *names,
                         struct fields *fields, struct arena *arena)
{
    size_t kept = 0;

    for (size_t i = 0; i < fields->count; i++) {
        struct field field = fields->items[i];

        if (adapt_field(call, names, &field, arena))
            fields->items[kept++] = field;
    }
    fields->count = kept;
}

/* RFC 8441 §5: an extended CONNECT has no handshake; toward the app we make one. */
static void add_handshake(struct call *call, struct fields *fields, struct arena *arena)
{
    struct port_call *port = call->port;

    if (!port->request.is_websocket || call_client(call)->link->version != HTTP_2)
        return;
    websocket_key_make(port->websocket_key);
    fields_add(fields, arena, FIELD_SEC_WEBSOCKET_KEY,
               slice_of(port->websocket_key, WEBSOCKET_KEY_BYTES));
    if (fields_find(fields, FIELD_SEC_WEBSOCKET_VERSION) == NULL)
        fields_add(fields, arena, FIELD_SEC_WEBSOCKET_VERSION, SLICE("13"));
}

void port_pass_request(struct call *call, struct head *out)
{
    const struct head *request = &call_client(call)->request;
    const struct port_request *parsed = &call->port->request;
    struct arena *arena = &call->heads;
    struct port_names names = names_of(call);
    struct forward_identity identity = identity_of(call, &names);
    bool has_no_body = parsed->is_websocket || parsed->is_preflight;

    *out = (struct head){
        .method = parsed->is_websocket ? SLICE("GET") : request->method,
        .scheme = SLICE("http"),
        .authority = port_host_value(&names, arena),
        .target = port_request_target(parsed, request->target, false, arena),
        .protocol = parsed->is_websocket ? SLICE("websocket") : SLICE_EMPTY,
        .fields = out->fields,
        .content_length = has_no_body ? CONTENT_LENGTH_UNKNOWN : request->content_length,
    };
    forward_request_fields(&request->fields, &identity, arena, &out->fields);
    adapt_fields(call, &names, &out->fields, arena);
    add_handshake(call, &out->fields, arena);
}

/* ---- the answer ---- */

static struct slice key_of(const struct call *call)
{
    const struct exchange *client = call_client(call);

    return client->link->version == HTTP_2
               ? slice_of(call->port->websocket_key, WEBSOCKET_KEY_BYTES)
               : fields_value(&client->request.fields, FIELD_SEC_WEBSOCKET_KEY);
}

static bool accepts_our_key(const struct call *call, const struct head *head)
{
    char accept[WEBSOCKET_ACCEPT_BYTES];
    struct slice key = key_of(call);

    return key.len > 0 && websocket_accept_of(key, accept) &&
           slice_equal(fields_value(&head->fields, FIELD_SEC_WEBSOCKET_ACCEPT),
                       slice_of(accept, sizeof(accept)));
}

/* What the answer must be, so that it means to the client what the app meant; NULL: it is. */
static const char *wrong_with(const struct call *call, const struct head *head)
{
    const struct exchange *client = call_client(call);
    bool is_extended = call->port->request.is_websocket && client->link->version == HTTP_2;

    if (head->status == 101 && !call->port->request.is_websocket)
        return "the app switched protocols without being asked to";
    if (head->status == 101 && !accepts_our_key(call, head))
        return "the app's Sec-WebSocket-Accept is wrong";
    if (head->status < 200 && head->status != 101)
        return "the app sent a status that does not exist";
    if (is_extended && head->status / 100 == 2) /* it would open the WebSocket */
        return "the app answered a WebSocket handshake as an ordinary request";
    return NULL;
}

static void adapt_answer(const struct call *call, struct fields *fields, struct arena *arena)
{
    struct port_names names = names_of(call);
    size_t kept = 0;

    for (size_t i = 0; i < fields->count; i++) {
        struct field field = fields->items[i];

        if (field.id == FIELD_SET_COOKIE && port_sets_our_cookie(field.value))
            continue;
        if (field.id == FIELD_LOCATION)
            field.value = port_location_value(&names, field.value, arena);
        fields->items[kept++] = field;
    }
    fields->count = kept;
}

static void add_ours(const struct call *call, const struct head *head, struct fields *fields,
                     struct arena *arena)
{
    struct slice apps_id = fields_value(&head->fields, FIELD_X_REQUEST_ID);
    struct slice offered = call->port->request.only_subprotocol;

    fields_add(fields, arena, FIELD_X_REQUEST_ID, apps_id.len > 0 ? apps_id : call->request_id);
    /* A browser that offered nothing but the token wants to hear one of its offers. */
    if (head->status == 101 && offered.len > 0 &&
        fields_find(fields, FIELD_SEC_WEBSOCKET_PROTOCOL) == NULL)
        fields_add(fields, arena, FIELD_SEC_WEBSOCKET_PROTOCOL, offered);
}

void port_call_response_head(struct call *call, const struct head *head, bool ends)
{
    struct exchange *client = call_client(call);
    struct head passed = { .status = head->status, .content_length = head->content_length };
    char memory[HEAD_MEMORY_BYTES];
    struct arena arena;
    const char *wrong = wrong_with(call, head);

    if (wrong != NULL) {
        call->words = wrong;
        call_fail(call, STATUS_AGENT_PROTOCOL);
        return;
    }
    call->state_due_ms = 0;
    call->port->is_tunnel = head->status == 101;
    if (call->port->is_tunnel) {
        call_metrics_tunnels(call);
        call->relay.tracks_edge = true;
        stream_edge_init_websocket(&call->relay.edge);
    }
    call->port->is_grpc_answer = slice_starts_with_nocase(
        fields_value(&head->fields, FIELD_CONTENT_TYPE), SLICE("application/grpc"));
    arena_init(&arena, memory, sizeof(memory)); /* no head is kept beyond exchange_send_head() */
    forward_response_fields(&head->fields, &arena, &passed.fields);
    adapt_answer(call, &passed.fields, &arena);
    add_ours(call, head, &passed.fields, &arena);
    call->client_status = head->status;
    exchange_send_head(client, &passed, ends);
    arena_deinit(&arena);
    if (ends)
        call_finish(call, STATUS_OK, ENDED_BY_AGENT);
}

/* Policy violation for those who may not be here any more; going away where that is what happens. */
static unsigned close_code(enum status status)
{
    switch (status) {
    case STATUS_DRAINING:
    case STATUS_COMPUTER_UNKNOWN:
    case STATUS_COMPUTER_NOT_RUNNING:
    case STATUS_CANCELED:
        return 1001;
    case STATUS_HOST_UNKNOWN:
        return 1008;
    default:
        return status_http(status) == 401 || status_http(status) == 403 ? 1008 : 1011;
    }
}

bool port_call_close_websocket(struct call *call, const struct reply *reply)
{
    struct exchange *client = call_client(call);
    const struct stream_edge *edge = &call->relay.edge;
    struct slice words =
        slice_first(slice_from_string(status_name(reply->status)), CLOSE_REASON_BYTES_MAX);
    unsigned code = close_code(reply->status);
    const char head[] = { (char)0x88, (char)(2 + words.len), (char)(code >> 8), (char)code };

    if (!call->port->is_tunnel || !stream_edge_is_at(edge))
        return false;
    if (!edge->saw_end) {
        exchange_write(client, slice_of(head, sizeof(head)));
        exchange_write(client, words);
    }
    exchange_end(client, NULL);
    return true;
}

bool port_call_interim_passes(const struct call *call, unsigned status)
{
    return status != 100 || call->port->request.expects_continue;
}

/* ---- time ---- */

static bool request_is_out(const struct call *call)
{
    const struct port_request *request = &call->port->request;
    const struct exchange *upstream = call->relay.upstream;

    return request->is_websocket || request->is_preflight ||
           (call_client(call)->in_ended && upstream->out.len == 0);
}

void port_call_note_progress(struct call *call)
{
    if (call->has_upstream_head || call->relay.upstream == NULL || !request_is_out(call))
        return;
    call->state_due_ms = call_now_ms(call) + call->config->options.response_head_ms;
}

void port_call_late(struct call *call)
{
    if (call->has_upstream_head) /* half closed for long enough */
        call_fail(call, STATUS_CANCELED);
    else
        call_fail(call, STATUS_DEADLINE_EXCEEDED);
}

void port_call_half_closed(struct call *call)
{
    call->state_due_ms = call_now_ms(call) + HALF_CLOSED_MS;
}

bool port_call_may_repeat(const struct call *call)
{
    const struct port_request *request = &call->port->request;

    return call->port->was_reused && !call->has_upstream_head && !request->changes_things &&
           !request->is_websocket;
}
