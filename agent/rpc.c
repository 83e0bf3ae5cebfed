/* agent/rpc.c — the answers of a call in the shape of its protocol; see rpc.h.
 *
 *              one message            an error before it      the end of a stream
 *   Connect    the body               HTTP status + JSON      (streaming: 200 and an END_STREAM
 * envelope, always) gRPC       envelope + trailers    trailers-only           trailers gRPC-Web
 * envelope + 0x80 frame  in the head             0x80 frame
 */
#include "agent/rpc.h"

#include "connect/envelope.h"

enum { GRPC_WEB_TRAILERS = 0x80 };

#define STREAM_TYPES                                                                               \
    "application/connect+json, application/connect+json; charset=utf-8, "                          \
    "application/connect+proto, "
#define UNARY_TYPES "application/json, application/json; charset=utf-8, application/proto, "
#define GRPC_TYPES                                                                                 \
    "application/grpc, application/grpc+json, application/grpc+json; charset=utf-8, "              \
    "application/grpc+proto, application/grpc-web, application/grpc-web+json, "                    \
    "application/grpc-web+json; charset=utf-8, application/grpc-web+proto"

static struct head new_head(unsigned status)
{
    return (struct head){ .status = status, .content_length = CONTENT_LENGTH_UNKNOWN };
}

static void add(struct rpc *rpc, struct head *head, enum field_id id, struct slice value)
{
    fields_add(&head->fields, &rpc->exchange->arena, id, value);
}

static void set_length(struct exchange *exchange, struct head *head, size_t len)
{
    head->content_length = (int64_t)len;
    fields_add(&head->fields, &exchange->arena, FIELD_CONTENT_LENGTH,
               arena_printf(&exchange->arena, "%zu", len));
}

void rpc_refuse(struct exchange *exchange, enum process_method method, unsigned http_status)
{
    struct head head = new_head(http_status);
    bool streams =
        process_method_is_server_stream(method) || process_method_is_client_stream(method);

    if (http_status == 405)
        fields_add_named(&head.fields, &exchange->arena, SLICE("allow"), SLICE("POST"));
    else
        fields_add_named(&head.fields, &exchange->arena, SLICE("accept-post"),
                         streams ? SLICE(STREAM_TYPES GRPC_TYPES) : SLICE(UNARY_TYPES GRPC_TYPES));
    set_length(exchange, &head, 0);
    exchange_send_head(exchange, &head, true);
}

static void add_encodings(struct rpc *rpc, struct head *head)
{
    static const struct slice names[] = {
        [RPC_CONNECT_UNARY] = SLICE("accept-encoding"),
        [RPC_CONNECT_STREAM] = SLICE("connect-accept-encoding"),
        [RPC_GRPC] = SLICE("grpc-accept-encoding"),
        [RPC_GRPC_WEB] = SLICE("grpc-accept-encoding"),
    };

    fields_add_named(&head->fields, &rpc->exchange->arena, names[rpc->protocol], SLICE("gzip"));
}

void rpc_open_stream(struct rpc *rpc)
{
    struct head head = new_head(200);

    add(rpc, &head, FIELD_CONTENT_TYPE, rpc->content_type);
    add_encodings(rpc, &head);
    exchange_send_head(rpc->exchange, &head, false);
}

/* gRPC's percent encoding: whatever is not printable ASCII, and '%' itself. */
static struct slice percent_encode(struct arena *arena, struct slice text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = arena_bytes(arena, text.len * 3);
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if (c >= 0x20 && c < 0x7f && c != '%') {
            out[len++] = (char)c;
            continue;
        }
        out[len++] = '%';
        out[len++] = digits[c >> 4];
        out[len++] = digits[c & 15];
    }
    return slice_of(out, len);
}

static void add_grpc_status(struct rpc *rpc, struct fields *fields, enum connect_code code,
                            struct slice words)
{
    struct arena *arena = &rpc->exchange->arena;

    fields_add_named(fields, arena, SLICE("grpc-status"), arena_printf(arena, "%d", (int)code));
    if (words.len > 0)
        fields_add_named(fields, arena, SLICE("grpc-message"), percent_encode(arena, words));
}

static void end_grpc_web(struct rpc *rpc, enum connect_code code, struct slice words)
{
    struct fields fields = { 0 };
    struct buf text = { 0 };
    struct buf frame = { 0 };

    add_grpc_status(rpc, &fields, code, words);
    for (size_t i = 0; i < fields.count; i++) {
        buf_append(&text, fields.items[i].name);
        buf_append(&text, SLICE(": "));
        buf_append(&text, fields.items[i].value);
        buf_append(&text, SLICE("\r\n"));
    }
    envelope_append(&frame, GRPC_WEB_TRAILERS, buf_slice(&text));
    exchange_write(rpc->exchange, buf_slice(&frame));
    exchange_end(rpc->exchange, NULL);
    buf_deinit(&text);
    buf_deinit(&frame);
}

static void end_connect(struct rpc *rpc, enum connect_code code, struct slice words)
{
    struct buf frame = { 0 };

    envelope_append_end(&frame, connect_code_text(code), words, SLICE_EMPTY);
    exchange_write(rpc->exchange, buf_slice(&frame));
    exchange_end(rpc->exchange, NULL);
    buf_deinit(&frame);
}

/* The end of a stream whose head was sent. */
static void end_stream(struct rpc *rpc, enum connect_code code, struct slice words)
{
    struct fields trailers = { 0 };

    rpc->is_over = true;
    switch (rpc->protocol) {
    case RPC_GRPC:
        add_grpc_status(rpc, &trailers, code, words);
        exchange_end(rpc->exchange, &trailers);
        break;
    case RPC_GRPC_WEB:
        end_grpc_web(rpc, code, words);
        break;
    default:
        end_connect(rpc, code, words);
    }
}

void rpc_finish(struct rpc *rpc)
{
    end_stream(rpc, CONNECT_OK, SLICE_EMPTY);
}

static void send_whole(struct rpc *rpc, struct head *head, struct slice body)
{
    rpc->is_over = true;
    set_length(rpc->exchange, head, body.len);
    exchange_send_head(rpc->exchange, head, body.len == 0);
    if (body.len == 0)
        return;
    exchange_write(rpc->exchange, body);
    exchange_end(rpc->exchange, NULL);
}

void rpc_reply(struct rpc *rpc, struct slice message)
{
    struct buf frame = { 0 };

    if (rpc->protocol == RPC_CONNECT_UNARY) {
        struct head head = new_head(200);

        add(rpc, &head, FIELD_CONTENT_TYPE, rpc->content_type);
        add_encodings(rpc, &head);
        send_whole(rpc, &head, message);
        return;
    }
    rpc_open_stream(rpc);
    envelope_append(&frame, 0, message);
    exchange_write(rpc->exchange, buf_slice(&frame));
    buf_deinit(&frame);
    rpc_finish(rpc);
}

static void fail_unary(struct rpc *rpc, enum connect_code code, struct slice words)
{
    struct head head = new_head(connect_code_http(code));
    struct buf body = { 0 };

    buf_printf(&body, "{\"code\":\"%s\",\"message\":\"", connect_code_text(code));
    buf_append_json_text(&body, words);
    buf_append(&body, SLICE("\"}"));
    add(rpc, &head, FIELD_CONTENT_TYPE, SLICE("application/json"));
    if (code == CONNECT_UNIMPLEMENTED)
        add_encodings(rpc, &head);
    send_whole(rpc, &head, buf_slice(&body));
    buf_deinit(&body);
}

static void fail_in_head(struct rpc *rpc, enum connect_code code, struct slice words)
{
    struct head head = new_head(200);

    rpc->is_over = true;
    add(rpc, &head, FIELD_CONTENT_TYPE, rpc->content_type);
    add_encodings(rpc, &head);
    add_grpc_status(rpc, &head.fields, code, words);
    exchange_send_head(rpc->exchange, &head, true);
}

void rpc_fail(struct rpc *rpc, enum connect_code code, struct slice words)
{
    if (rpc->exchange->head_sent) {
        end_stream(rpc, code, words);
    } else if (rpc->protocol == RPC_CONNECT_UNARY) {
        fail_unary(rpc, code, words);
    } else if (rpc->protocol == RPC_CONNECT_STREAM) {
        rpc_open_stream(rpc);
        end_stream(rpc, code, words);
    } else {
        fail_in_head(rpc, code, words);
    }
}
