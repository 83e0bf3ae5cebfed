/* agent/rpc_request.c — what the head of a request says about the call; see rpc.h. */
#include "agent/rpc.h"

enum {
    KEEPALIVE_DEFAULT_S = 90,
    KEEPALIVE_MAX_S = 86400,
    CONNECT_TIMEOUT_DIGITS = 10,
    GRPC_TIMEOUT_DIGITS = 8
};

static const struct {
    struct slice type;
    enum rpc_protocol protocol;
    enum message_codec codec;
} types[] = {
    { SLICE("application/json"), RPC_CONNECT_UNARY, MESSAGE_JSON },
    { SLICE("application/proto"), RPC_CONNECT_UNARY, MESSAGE_PROTO },
    { SLICE("application/connect+json"), RPC_CONNECT_STREAM, MESSAGE_JSON },
    { SLICE("application/connect+proto"), RPC_CONNECT_STREAM, MESSAGE_PROTO },
    { SLICE("application/grpc"), RPC_GRPC, MESSAGE_PROTO },
    { SLICE("application/grpc+proto"), RPC_GRPC, MESSAGE_PROTO },
    { SLICE("application/grpc+json"), RPC_GRPC, MESSAGE_JSON },
    { SLICE("application/grpc-web"), RPC_GRPC_WEB, MESSAGE_PROTO },
    { SLICE("application/grpc-web+proto"), RPC_GRPC_WEB, MESSAGE_PROTO },
    { SLICE("application/grpc-web+json"), RPC_GRPC_WEB, MESSAGE_JSON },
};

/* A method is either unary or streams: Connect has a content type for each, gRPC one for both. */
static bool suits(enum rpc_protocol protocol, enum process_method method)
{
    bool streams =
        process_method_is_server_stream(method) || process_method_is_client_stream(method);

    return protocol > RPC_CONNECT_STREAM || (protocol == RPC_CONNECT_STREAM) == streams;
}

unsigned rpc_classify(struct exchange *exchange, enum process_method method, struct rpc *out_rpc)
{
    struct slice rest = fields_value(&exchange->request.fields, FIELD_CONTENT_TYPE);
    struct slice type = slice_trim(slice_cut(&rest, ';'));

    *out_rpc = (struct rpc){ .exchange = exchange, .method = method };
    if (!slice_equal(exchange->request.method, SLICE("POST")))
        return 405;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (slice_equal_nocase(types[i].type, type) && suits(types[i].protocol, method)) {
            out_rpc->protocol = types[i].protocol;
            out_rpc->codec = types[i].codec;
            out_rpc->content_type = types[i].type;
            return 0;
        }
    return 415;
}

/* The header of another protocol than this one's is a stranger's: nobody reads it. */
static struct slice named_value(const struct rpc *rpc, struct slice lower_name)
{
    const struct fields *fields = &rpc->exchange->request.fields;

    for (size_t i = 0; i < fields->count; i++)
        if (slice_equal(fields->items[i].name, lower_name))
            return fields->items[i].value;
    return SLICE_EMPTY;
}

static bool is_grpc(const struct rpc *rpc)
{
    return rpc->protocol == RPC_GRPC || rpc->protocol == RPC_GRPC_WEB;
}

static enum connect_code read_compression(struct rpc *rpc, struct buf *out_error)
{
    const struct fields *fields = &rpc->exchange->request.fields;
    struct slice name;

    if (is_grpc(rpc))
        name = named_value(rpc, SLICE("grpc-encoding"));
    else
        name = fields_value(fields, rpc->protocol == RPC_CONNECT_UNARY
                                        ? FIELD_CONTENT_ENCODING
                                        : FIELD_CONNECT_CONTENT_ENCODING);
    name = slice_trim(name);
    rpc->is_gzip = slice_equal(name, SLICE("gzip"));
    if (rpc->is_gzip || name.len == 0 || slice_equal(name, SLICE("identity")))
        return CONNECT_OK;
    buf_append(out_error, SLICE("unknown compression \""));
    buf_append(out_error, slice_first(name, 64));
    buf_append(out_error, SLICE("\": supported encodings are gzip"));
    return CONNECT_UNIMPLEMENTED;
}

static enum connect_code bad_timeout(const char *name, struct slice value, struct buf *out_error)
{
    buf_printf(out_error, "%s \"", name);
    buf_append(out_error, slice_first(value, 64));
    buf_append(out_error, SLICE("\" is not a timeout"));
    return CONNECT_INVALID_ARGUMENT;
}

/* RFC-less: gRPC's "TimeoutValue TimeoutUnit". Rounded up, so that a short timeout is not none. */
static bool grpc_timeout_ms(struct slice value, uint64_t *out_ms)
{
    static const struct {
        char unit;
        uint64_t per_unit_us;
    } units[] = { { 'H', 3600000000 }, { 'M', 60000000 }, { 'S', 1000000 },
                  { 'm', 1000 },       { 'u', 1 },        { 'n', 0 } };
    uint64_t number;

    if (value.len < 2 || value.len > GRPC_TIMEOUT_DIGITS + 1 ||
        !slice_to_u64(slice_first(value, value.len - 1), &number))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (units[i].unit == value.ptr[value.len - 1]) {
            uint64_t us = units[i].per_unit_us > 0 ? number * units[i].per_unit_us : number / 1000;

            *out_ms = (us + 999) / 1000;
            if (*out_ms == 0)
                *out_ms = 1;
            return true;
        }
    return false;
}

/* Connect: 0 means none, as envd reads it. */
static enum connect_code read_timeout(struct rpc *rpc, struct buf *out_error)
{
    struct slice value =
        is_grpc(rpc) ? fields_value(&rpc->exchange->request.fields, FIELD_GRPC_TIMEOUT)
                     : fields_value(&rpc->exchange->request.fields, FIELD_CONNECT_TIMEOUT_MS);

    if (value.len == 0)
        return CONNECT_OK;
    if (is_grpc(rpc))
        return grpc_timeout_ms(value, &rpc->timeout_ms)
                   ? CONNECT_OK
                   : bad_timeout("grpc-timeout", value, out_error);
    if (value.len > CONNECT_TIMEOUT_DIGITS || !slice_to_u64(value, &rpc->timeout_ms))
        return bad_timeout("connect-timeout-ms", value, out_error);
    return CONNECT_OK;
}

static void read_keepalive(struct rpc *rpc)
{
    uint64_t seconds;

    if (!slice_to_u64(fields_value(&rpc->exchange->request.fields, FIELD_KEEPALIVE_PING_INTERVAL),
                      &seconds) ||
        seconds == 0 || seconds > KEEPALIVE_MAX_S)
        seconds = KEEPALIVE_DEFAULT_S;
    rpc->keepalive_ms = seconds * 1000;
}

enum connect_code rpc_read_fields(struct rpc *rpc, struct buf *out_error)
{
    struct slice version =
        fields_value(&rpc->exchange->request.fields, FIELD_CONNECT_PROTOCOL_VERSION);

    if (!is_grpc(rpc) && version.len > 0 && !slice_equal(version, SLICE("1"))) {
        buf_append(out_error, SLICE("connect-protocol-version must be \"1\""));
        return CONNECT_INVALID_ARGUMENT;
    }

    enum connect_code code = read_compression(rpc, out_error);

    if (code == CONNECT_OK)
        code = read_timeout(rpc, out_error);
    read_keepalive(rpc);
    return code;
}
