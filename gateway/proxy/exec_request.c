/* proxy/exec_request.c — see exec_request.h. */
#include "proxy/exec_request.h"

static const char *const caller_texts[CALLER_COUNT] = {
    [CALLER_HTTP] = "http",
    [CALLER_PAGE] = "page",
    [CALLER_CONNECT_UNARY] = "connect_unary",
    [CALLER_CONNECT_STREAM] = "connect_stream",
    [CALLER_GRPC] = "grpc",
    [CALLER_GRPC_WEB] = "grpc_web",
    [CALLER_GRPC_WEB_TEXT] = "grpc_web_text",
    [CALLER_PLAIN_JSON] = "plain_json",
};

const char *caller_text(enum caller caller)
{
    ENSURE(caller < CALLER_COUNT);
    return caller_texts[caller];
}

/* ---- the protocol of the caller ---- */

static bool media_is(struct slice type, struct slice wanted)
{
    return slice_equal_nocase(type, wanted);
}

/* "application/grpc", or the same with "+proto" and the like. */
static bool media_is_family(struct slice type, struct slice family)
{
    return slice_starts_with_nocase(type, family) &&
           (type.len == family.len || type.ptr[family.len] == '+');
}

bool request_is_navigation(const struct head *head)
{
    struct slice mode = fields_value(&head->fields, FIELD_SEC_FETCH_MODE);

    if (!slice_equal(head->method, SLICE("GET")) && !slice_equal(head->method, SLICE("HEAD")))
        return false;
    if (mode.len > 0)
        return slice_equal(mode, SLICE("navigate"));
    return field_list_contains(fields_value(&head->fields, FIELD_ACCEPT), SLICE("text/html")) &&
           fields_find(&head->fields, FIELD_X_REQUESTED_WITH) == NULL;
}

/* UNSUPPORTED_MEDIA: this method is not spoken in this content type. */
static enum status classify(struct exec_request *request)
{
    struct slice rest = request->content_type;
    struct slice type = slice_trim(slice_cut(&rest, ';'));
    bool is_stream = process_method_is_server_stream(request->method) ||
                     process_method_is_client_stream(request->method);

    if (media_is_family(type, SLICE("application/grpc-web-text")))
        request->caller = CALLER_GRPC_WEB_TEXT;
    else if (media_is_family(type, SLICE("application/grpc-web")))
        request->caller = CALLER_GRPC_WEB;
    else if (media_is_family(type, SLICE("application/grpc")))
        request->caller = CALLER_GRPC;
    else if (is_stream && slice_starts_with_nocase(type, SLICE("application/connect+")))
        request->caller = CALLER_CONNECT_STREAM;
    else if (media_is(type, SLICE("application/json")) &&
             process_method_is_server_stream(request->method))
        request->caller = CALLER_PLAIN_JSON;
    else if (!is_stream && (media_is(type, SLICE("application/json")) ||
                            media_is(type, SLICE("application/proto"))))
        request->caller = CALLER_CONNECT_UNARY;
    else
        return STATUS_UNSUPPORTED_MEDIA;
    return STATUS_OK;
}

/* ---- the query ---- */

/* Is `escaped` `plain` to whoever decodes it (RFC 3986 §2.1)? */
static bool means(struct slice escaped, struct slice plain)
{
    size_t at = 0, count = 0;

    for (; at < escaped.len && count < plain.len; count++) {
        int byte = (unsigned char)escaped.ptr[at++];

        if (byte == '%' && at + 2 <= escaped.len) {
            int high = hex_digit(escaped.ptr[at]), low = hex_digit(escaped.ptr[at + 1]);

            byte = high < 0 || low < 0 ? -1 : high * 16 + low;
            at += 2;
        }
        if (byte != (unsigned char)plain.ptr[count])
            return false;
    }
    return at == escaped.len && count == plain.len;
}

/* Those that carry a token: here or, by the older name, at ports. However they are written, the
 * agent does not get them. */
static bool is_token_parameter(struct slice name)
{
    return means(name, SLICE("access_token")) || means(name, SLICE("token"));
}

static bool is_our_parameter(const struct exec_request *request, struct slice name)
{
    return is_token_parameter(name) ||
           (request->caller == CALLER_PLAIN_JSON && slice_equal(name, SLICE("wait_ms")));
}

struct query_finding {
    struct slice token;
    unsigned token_count;
};

static enum status read_query(struct exec_request *request, struct query_finding *out,
                              const char **out_words)
{
    struct slice rest = request->query;

    while (rest.len > 0) {
        struct slice value = slice_cut(&rest, '&');
        struct slice name = slice_cut(&value, '=');

        if (!is_our_parameter(request, name))
            continue;
        request->query_is_ours = true;
        if (slice_equal(name, SLICE("access_token"))) {
            out->token = value;
            out->token_count++;
        } else if (is_token_parameter(name)) {
            continue;
        } else if (slice_to_u64(value, &request->wait_ms)) {
            request->has_wait_ms = true;
        } else {
            *out_words = "wait_ms is not a number of milliseconds";
            return STATUS_MALFORMED;
        }
    }
    return STATUS_OK;
}

struct slice exec_request_target(const struct exec_request *request, struct slice target,
                                 struct arena *arena)
{
    struct slice rest = request->query;

    if (!request->query_is_ours)
        return target;
    char *text = arena_bytes(arena, target.len);
    size_t len = request->path.len;
    memcpy(text, request->path.ptr, len);
    char separator = '?';
    while (rest.len > 0) {
        struct slice parameter = slice_cut(&rest, '&');
        struct slice value = parameter;
        if (is_our_parameter(request, slice_cut(&value, '=')))
            continue;
        text[len++] = separator;
        separator = '&';
        memcpy(text + len, parameter.ptr, parameter.len);
        len += parameter.len;
    }
    return slice_of(text, len);
}

void exec_request_log_target(struct slice target, struct buf *into)
{
    size_t path_len = slice_find(target, '?');

    buf_append_json_text(into, slice_first(target, path_len < 256 ? path_len : 256));
    if (path_len < target.len)
        buf_append(into, SLICE("?...")); /* no value of a query is ever logged */
}

/* ---- fields ---- */

struct field_finding {
    struct slice bearer, access_token, timeout, keepalive, grpc_timeout;
    unsigned authorization_count, access_token_count;
};

static void read_authorization(struct exec_request *request, struct slice value,
                               struct field_finding *found)
{
    static const struct slice scheme = { "bearer ", 7 };

    found->authorization_count++;
    if (!slice_starts_with_nocase(value, scheme))
        return;
    request->bearer_is_ours = true;
    found->bearer = slice_trim(slice_skip(value, scheme.len));
}

static void read_fields(const struct head *head, struct exec_request *request,
                        struct field_finding *found)
{
    for (size_t i = 0; i < head->fields.count; i++) {
        const struct field *field = &head->fields.items[i];

        switch (field->id) {
        case FIELD_AUTHORIZATION:
            read_authorization(request, field->value, found);
            break;
        case FIELD_X_ACCESS_TOKEN:
            found->access_token = slice_trim(field->value);
            found->access_token_count++;
            break;
        case FIELD_CONNECT_TIMEOUT_MS:
            found->timeout = field->value;
            break;
        case FIELD_GRPC_TIMEOUT:
            found->grpc_timeout = field->value;
            break;
        case FIELD_KEEPALIVE_PING_INTERVAL:
            found->keepalive = field->value;
            break;
        case FIELD_CONTENT_TYPE:
            request->content_type = field->value;
            break;
        case FIELD_X_COMPUTER_ID:
            request->named_computer = field->value;
            break;
        case FIELD_OTHER:
            if (request->named_computer.len == 0 &&
                slice_equal(field->name, SLICE("e2b-sandbox-id")))
                request->named_computer = field->value;
            break;
        default:
            break;
        }
    }
}

/* "8 digits and a unit" (gRPC over HTTP/2, PROTOCOL-HTTP2.md). */
static bool parse_grpc_timeout(struct slice text, uint64_t *out_ms)
{
    static const struct {
        char unit;
        uint64_t multiply, divide;
    } units[] = { { 'H', 3600000, 1 }, { 'M', 60000, 1 }, { 'S', 1000, 1 },
                  { 'm', 1, 1 },       { 'u', 1, 1000 },  { 'n', 1, 1000000 } };
    uint64_t number;

    if (text.len < 2 || text.len > 9 || !slice_to_u64(slice_first(text, text.len - 1), &number))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (units[i].unit != text.ptr[text.len - 1])
            continue;
        *out_ms = (number * units[i].multiply + units[i].divide - 1) / units[i].divide;
        return true;
    }
    return false;
}

static enum status read_timeout(struct exec_request *request, const struct field_finding *found,
                                const char **out_words)
{
    bool is_grpc = request->caller == CALLER_GRPC || request->caller == CALLER_GRPC_WEB ||
                   request->caller == CALLER_GRPC_WEB_TEXT;

    if (is_grpc) {
        if (found->grpc_timeout.len > 0 &&
            !parse_grpc_timeout(found->grpc_timeout, &request->timeout_ms)) {
            *out_words = "grpc-timeout is not at most 8 digits and a unit";
            return STATUS_MALFORMED;
        }
        return STATUS_OK;
    }
    if (found->timeout.len > 0 &&
        (found->timeout.len > 10 || !slice_to_u64(found->timeout, &request->timeout_ms))) {
        *out_words = "Connect-Timeout-Ms is not a number of at most 10 digits";
        return STATUS_MALFORMED;
    }
    return STATUS_OK;
}

/* envd dies of an interval of 0 or less (time.NewTicker panics): nothing but a sane number passes.
 */
static void read_keepalive(struct exec_request *request, struct slice text)
{
    uint64_t seconds;

    if (!slice_to_u64(slice_trim(text), &seconds))
        return;
    request->keepalive_s = seconds < 1 ? 1 : seconds > 3600 ? 3600 : (uint32_t)seconds;
}

static enum status read_expect(const struct head *head, struct exec_request *request)
{
    struct slice expect = fields_value(&head->fields, FIELD_EXPECT);

    if (expect.len == 0)
        return STATUS_OK;
    request->expects_continue = slice_equal_nocase(expect, SLICE("100-continue"));
    return request->expects_continue ? STATUS_OK : STATUS_EXPECTATION_FAILED;
}

/* The first place that holds one decides; a place that holds two is nobody's mistake that we should
 * guess about. */
static enum status read_token(struct exec_request *request, const struct field_finding *fields,
                              const struct query_finding *query)
{
    if (fields->authorization_count > 1 || fields->access_token_count > 1 || query->token_count > 1)
        return STATUS_TOKEN_DUPLICATE;
    if (request->bearer_is_ours)
        request->token = fields->bearer;
    else if (fields->access_token_count > 0)
        request->token = fields->access_token;
    else
        request->token = query->token;
    return STATUS_OK;
}

static enum exec_target target_of(struct slice path, enum process_method *out_method)
{
    if (process_method_from_path(path, out_method))
        return EXEC_TARGET_METHOD;
    if (slice_equal(path, SLICE("/health")))
        return EXEC_TARGET_HEALTH;
    if (slice_equal(path, SLICE("/")))
        return EXEC_TARGET_ROOT;
    return EXEC_TARGET_UNKNOWN;
}

static enum status check_method(const struct head *head, const struct exec_request *request)
{
    bool reads =
        slice_equal(head->method, SLICE("GET")) || slice_equal(head->method, SLICE("HEAD"));
    bool posts = slice_equal(head->method, SLICE("POST"));

    if (slice_equal(head->method, SLICE("OPTIONS")))
        return STATUS_OK;
    return (request->target == EXEC_TARGET_METHOD ? posts : reads) ? STATUS_OK
                                                                   : STATUS_METHOD_NOT_ALLOWED;
}

enum status exec_request_parse(const struct head *head, struct exec_request *out,
                               const char **out_words)
{
    struct field_finding fields = { 0 };
    struct query_finding query = { 0 };
    const char *words = NULL;

    *out =
        (struct exec_request){ .caller = request_is_navigation(head) ? CALLER_PAGE : CALLER_HTTP };
    out->query = head->target;
    out->path = slice_cut(&out->query, '?');
    out->target = target_of(out->path, &out->method);
    if (out->target == EXEC_TARGET_UNKNOWN)
        return STATUS_PATH_UNKNOWN;
    read_fields(head, out, &fields);
    enum status status = check_method(head, out);
    if (status == STATUS_OK && out->target == EXEC_TARGET_METHOD &&
        slice_equal(head->method, SLICE("POST")))
        status = classify(out);
    if (status == STATUS_OK)
        status = read_query(out, &query, &words);
    if (status == STATUS_OK)
        status = read_token(out, &fields, &query);
    if (status == STATUS_OK)
        status = read_timeout(out, &fields, &words);
    if (status == STATUS_OK)
        status = read_expect(head, out);
    read_keepalive(out, fields.keepalive);
    if (out_words != NULL)
        *out_words = words;
    return status;
}
