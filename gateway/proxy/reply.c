/* proxy/reply.c — see reply.h. */
#include "proxy/reply.h"

#include "base/base64.h"
#include "connect/envelope.h"
#include "proxy/cors.h"
#include "proxy/port_page.h"

enum { GRPC_WEB_TRAILER = 0x80 };

enum connect_code reply_code(const struct reply *reply)
{
    return reply->code != CONNECT_OK ? reply->code : connect_code_of_status(reply->status);
}

const char *reply_words(const struct reply *reply)
{
    const char *words = reply->words;

    if (words == NULL && reply->is_port)
        words = port_words(reply->status);
    return words != NULL ? words : status_words(reply->status);
}

static bool is_stream_caller(enum caller caller)
{
    return caller == CALLER_CONNECT_STREAM || caller == CALLER_GRPC || caller == CALLER_GRPC_WEB ||
           caller == CALLER_GRPC_WEB_TEXT;
}

static unsigned http_of(const struct reply *reply)
{
    if (reply->http != 0)
        return reply->http;
    return reply->code != CONNECT_OK ? connect_code_http(reply->code) : status_http(reply->status);
}

unsigned reply_http(const struct reply *reply)
{
    return is_stream_caller(reply->caller) ? 200 : http_of(reply);
}

static const char *delivered_text(const struct reply *reply)
{
    return reply->maybe_delivered ? "maybe" : "never";
}

/* When to come again, for what passes by itself; NULL for the rest. */
static const char *retry_after(enum status status)
{
    switch (status) {
    case STATUS_COMPUTER_NOT_RUNNING:
        return "2";
    case STATUS_LIMIT_REACHED:
    case STATUS_AGENT_BUSY:
    case STATUS_AGENT_UNREACHABLE:
    case STATUS_AGENT_TIMED_OUT:
    case STATUS_ROUTE_UNAVAILABLE:
    case STATUS_OVERLOADED:
    case STATUS_DRAINING:
        return "1";
    default:
        return NULL;
    }
}

/* ---- error bodies ---- */

static void append_proto_text(struct buf *into, char tag, struct slice text)
{
    ENSURE(text.len < 128);
    buf_append_byte(into, tag);
    buf_append_byte(into, (char)text.len);
    buf_append(into, text);
}

/* google.rpc.ErrorInfo { reason = 1; domain = 2; metadata = 3 (map) } as a Connect error detail: a
 * client that sees only the end of a stream learns the reason, and whether a second try is safe. */
static void append_details(struct buf *into, const struct reply *reply)
{
    struct buf info = { 0 }, entry = { 0 };
    struct slice reason = slice_from_string(status_name(reply->status));
    struct slice delivered = slice_from_string(delivered_text(reply));

    if (reply->is_agents) {
        buf_append(into, SLICE("[]"));
        return;
    }
    append_proto_text(&info, 0x0a, reason);
    append_proto_text(&info, 0x12, SLICE("exec-gateway"));
    append_proto_text(&entry, 0x0a, SLICE("delivered"));
    append_proto_text(&entry, 0x12, delivered);
    append_proto_text(&info, 0x1a, buf_slice(&entry));
    buf_append(into, SLICE("[{\"type\":\"google.rpc.ErrorInfo\",\"value\":\""));
    size_t start = into->len;
    base64_encode(buf_slice(&info), into);
    while (into->len > start && buf_slice(into).ptr[into->len - 1] == '=')
        into->len--; /* Connect writes it without padding */
    buf_printf(into,
               "\",\"debug\":{\"reason\":\"%.*s\",\"domain\":\"exec-gateway\","
               "\"metadata\":{\"delivered\":\"%.*s\"}}}]",
               SLICE_ARGS(reason), SLICE_ARGS(delivered));
    buf_deinit(&info);
    buf_deinit(&entry);
}

void reply_append_json(struct buf *into, const struct reply *reply)
{
    buf_printf(into, "{\"code\":\"%s\",\"message\":\"", connect_code_text(reply_code(reply)));
    buf_append_json_text(into, slice_from_string(reply_words(reply)));
    buf_append(into, SLICE("\",\"details\":"));
    append_details(into, reply);
    if (reply->is_port && port_error_word(reply->status) != NULL)
        buf_printf(into, ",\"error\":\"%s\"", port_error_word(reply->status));
}

void reply_append_html_text(struct buf *into, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '<')
            buf_append(into, SLICE("&lt;"));
        else if (c == '>')
            buf_append(into, SLICE("&gt;"));
        else if (c == '&')
            buf_append(into, SLICE("&amp;"));
        else if (c == '"')
            buf_append(into, SLICE("&quot;"));
        else
            buf_append_byte(into, c);
    }
}

static void append_page(struct buf *into, const struct reply *reply)
{
    buf_printf(
        into,
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content=\"width=device-width\"><title>%u</title><style>"
        ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;"
        "max-width:36em;margin:15vh auto;padding:0 1em}small{opacity:.7}</style><h1>%u</h1><p>",
        http_of(reply), http_of(reply));
    reply_append_html_text(into, slice_from_string(reply_words(reply)));
    buf_printf(into, "<p><small>%s &middot; request ", status_name(reply->status));
    reply_append_html_text(into, reply->request_id);
    buf_append(into, SLICE("</small></html>\n"));
}

/* gRPC's percent-encoding of Status-Message: everything but 0x20–0x7e without '%'. */
static struct slice grpc_message(const char *words, struct arena *arena)
{
    struct buf text = { 0 };

    for (const char *at = words; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        if (c >= 0x20 && c <= 0x7e && c != '%')
            buf_append_byte(&text, *at);
        else
            buf_printf(&text, "%%%02X", c);
    }
    struct slice copy = arena_copy(arena, buf_slice(&text));
    buf_deinit(&text);
    return copy;
}

/* ---- heads ---- */

static void add(struct exchange *client, struct head *head, const char *name, struct slice value)
{
    fields_add_named(&head->fields, &client->arena, slice_from_string(name), value);
}

void reply_begin_head(struct exchange *client, const struct reply *reply, unsigned http,
                      struct head *out)
{
    *out = (struct head){ .status = http, .content_length = CONTENT_LENGTH_UNKNOWN };
    if (reply->request_id.len > 0)
        add(client, out, "x-request-id", reply->request_id);
    add(client, out, "cache-control", SLICE("no-store"));
    add(client, out, "referrer-policy", SLICE("no-referrer"));
    add(client, out, "x-content-type-options", SLICE("nosniff"));
    cors_add_fields(reply->cors_origin, &client->arena, &out->fields);
}

static void add_length(struct exchange *client, struct head *head, size_t size_bytes)
{
    head->content_length = (int64_t)size_bytes;
    add(client, head, "content-length", arena_printf(&client->arena, "%zu", size_bytes));
}

void reply_send_body(struct exchange *client, struct head *head, struct slice content_type,
                     struct slice body, bool is_head_request)
{
    bool has_body = body.len > 0 && !is_head_request;

    if (content_type.len > 0)
        add(client, head, "content-type", content_type);
    if (head->status != 204)
        add_length(client, head, body.len);
    exchange_send_head(client, head, !has_body);
    if (!has_body)
        return;
    exchange_write(client, body);
    exchange_end(client, NULL);
}

void reply_add_error_fields(struct exchange *client, const struct reply *reply, struct head *head)
{
    const char *after = retry_after(reply->status);

    if (reply->is_agents)
        return;
    add(client, head, "x-gateway-error", slice_from_string(status_name(reply->status)));
    add(client, head, "x-gateway-delivered", slice_from_string(delivered_text(reply)));
    if (after != NULL)
        add(client, head, "retry-after", slice_from_string(after));
    if (reply->allow.len > 0)
        add(client, head, "allow", reply->allow);
    if (reply->status == STATUS_UNSUPPORTED_MEDIA)
        add(client, head, "accept-post",
            SLICE("application/json, application/proto, application/connect+json, "
                  "application/connect+proto, application/grpc, application/grpc+json, "
                  "application/grpc+proto, application/grpc-web, application/grpc-web+json, "
                  "application/grpc-web+proto"));
    const char *realm = reply->is_port ? "port" : "exec";
    if (head->status == 401)
        add(client, head, "www-authenticate",
            reply->status == STATUS_TOKEN_MISSING
                ? arena_printf(&client->arena, "Bearer realm=\"%s\"", realm)
                : arena_printf(&client->arena,
                               "Bearer realm=\"%s\", error=\"invalid_token\", "
                               "error_description=\"%s\"",
                               realm, status_words(reply->status)));
}

static struct slice media_type_of(struct slice content_type)
{
    return slice_trim(slice_cut(&content_type, ';'));
}

static void send_connect_stream(struct exchange *client, const struct reply *reply,
                                struct head *head)
{
    struct buf body = { 0 }, details = { 0 };

    append_details(&details, reply);
    envelope_append_end(&body, connect_code_text(reply_code(reply)),
                        slice_from_string(reply_words(reply)), buf_slice(&details));
    reply_send_body(client, head, media_type_of(reply->content_type), buf_slice(&body),
                    reply->is_head_request);
    buf_deinit(&details);
    buf_deinit(&body);
}

static void add_grpc_status(struct exchange *client, const struct reply *reply, struct fields *into)
{
    struct arena *arena = &client->arena;

    fields_add_named(into, arena, SLICE("grpc-status"),
                     arena_printf(arena, "%d", (int)reply_code(reply)));
    fields_add_named(into, arena, SLICE("grpc-message"), grpc_message(reply_words(reply), arena));
}

static void send_grpc(struct exchange *client, const struct reply *reply, struct head *head)
{
    add(client, head, "content-type", media_type_of(reply->content_type));
    add_grpc_status(client, reply, &head->fields);
    if (client->link->version != HTTP_2)
        add_length(client, head, 0);
    exchange_send_head(client, head, true);
}

void reply_send(struct exchange *client, const struct reply *reply)
{
    struct head head;
    struct buf body = { 0 };

    reply_begin_head(client, reply, reply_http(reply), &head);
    reply_add_error_fields(client, reply, &head);
    if (reply->caller == CALLER_CONNECT_STREAM) {
        send_connect_stream(client, reply, &head);
    } else if (is_stream_caller(reply->caller)) {
        send_grpc(client, reply, &head);
    } else if (reply->caller == CALLER_PAGE) {
        if (reply->is_port)
            port_page_append(&body, reply, head.status);
        else
            append_page(&body, reply);
        add(client, &head, "content-security-policy",
            SLICE("default-src 'none'; style-src 'unsafe-inline'"));
        reply_send_body(client, &head, SLICE("text/html; charset=utf-8"), buf_slice(&body),
                        reply->is_head_request);
    } else {
        reply_append_json(&body, reply);
        buf_append(&body, SLICE("}\n"));
        reply_send_body(client, &head, SLICE("application/json"), buf_slice(&body),
                        reply->is_head_request);
    }
    buf_deinit(&body);
}

/* ---- in the middle of a stream ---- */

static void end_connect_stream(struct exchange *client, const struct reply *reply)
{
    struct buf end = { 0 }, details = { 0 };

    append_details(&details, reply);
    envelope_append_end(&end, connect_code_text(reply_code(reply)),
                        slice_from_string(reply_words(reply)), buf_slice(&details));
    exchange_write(client, buf_slice(&end));
    exchange_end(client, NULL);
    buf_deinit(&details);
    buf_deinit(&end);
}

static void end_grpc_web(struct exchange *client, const struct reply *reply)
{
    struct buf trailers = { 0 }, frame = { 0 };
    struct slice message = grpc_message(reply_words(reply), &client->arena);

    buf_printf(&trailers, "grpc-status: %d\r\ngrpc-message: %.*s\r\n", (int)reply_code(reply),
               SLICE_ARGS(message));
    envelope_append(&frame, GRPC_WEB_TRAILER, buf_slice(&trailers));
    exchange_write(client, buf_slice(&frame));
    exchange_end(client, NULL);
    buf_deinit(&trailers);
    buf_deinit(&frame);
}

bool reply_end_stream(struct exchange *client, const struct reply *reply, bool at_edge)
{
    struct fields trailers = { 0 };

    if (reply->caller == CALLER_GRPC) { /* trailers end a call wherever its messages stand */
        add_grpc_status(client, reply, &trailers);
        exchange_end(client, &trailers);
        return true;
    }
    if (!at_edge)
        return false;
    if (reply->caller == CALLER_CONNECT_STREAM)
        end_connect_stream(client, reply);
    else if (reply->caller == CALLER_GRPC_WEB)
        end_grpc_web(client, reply);
    else
        return false;
    return true;
}
