/* http/h1_writer.c — see h1_writer.h. */
#include "http/h1_writer.h"

#include <stdio.h>

enum { WRITES_PER_FLUSH = 8, LINE_BYTES = 24, HEAD_SLACK_BYTES = 192 };

/* Fields that old HTTP/1.1 software spells out; all others stay in lower case. */
static const struct slice spellings[FIELD_COUNT] = {
#define SPELLED(id, text) [FIELD_##id] = { .ptr = text, .len = sizeof(text) - 1 }
    SPELLED(ACCEPT, "Accept"),
    SPELLED(ACCEPT_ENCODING, "Accept-Encoding"),
    SPELLED(AUTHORIZATION, "Authorization"),
    SPELLED(CONTENT_ENCODING, "Content-Encoding"),
    SPELLED(CONTENT_TYPE, "Content-Type"),
    SPELLED(COOKIE, "Cookie"),
    SPELLED(DATE, "Date"),
    SPELLED(EXPECT, "Expect"),
    SPELLED(LOCATION, "Location"),
    SPELLED(ORIGIN, "Origin"),
    SPELLED(REFERER, "Referer"),
    SPELLED(SEC_WEBSOCKET_ACCEPT, "Sec-WebSocket-Accept"),
    SPELLED(SEC_WEBSOCKET_EXTENSIONS, "Sec-WebSocket-Extensions"),
    SPELLED(SEC_WEBSOCKET_KEY, "Sec-WebSocket-Key"),
    SPELLED(SEC_WEBSOCKET_PROTOCOL, "Sec-WebSocket-Protocol"),
    SPELLED(SEC_WEBSOCKET_VERSION, "Sec-WebSocket-Version"),
    SPELLED(SERVER, "Server"),
    SPELLED(SET_COOKIE, "Set-Cookie"),
    SPELLED(USER_AGENT, "User-Agent"),
    SPELLED(WWW_AUTHENTICATE, "WWW-Authenticate"),
#undef SPELLED
};

/* Text that grows in memory whose size was counted before. */
struct text {
    char *bytes;
    size_t len;
    size_t size;
};

static void put(struct text *text, struct slice part)
{
    ENSURE(part.len <= text->size - text->len);
    if (part.len > 0)
        memcpy(text->bytes + text->len, part.ptr, part.len);
    text->len += part.len;
}

static size_t fields_bytes(const struct fields *fields)
{
    size_t size = 0;

    for (size_t i = 0; i < fields->count; i++)
        size += fields->items[i].name.len + fields->items[i].value.len + 4;
    return size;
}

/* ---- fields ---- */

/* What the writer says itself, or what must not leave this connection. */
static bool is_ours(enum field_id id)
{
    return id == FIELD_HOST || id == FIELD_CONTENT_LENGTH || field_is_hop_by_hop(id);
}

static bool put_field(struct text *text, const struct field *field)
{
    struct slice value = slice_trim(field->value);
    struct slice spelling = spellings[field->id];

    if ((field->id == FIELD_OTHER && !is_token(field->name)) || !is_field_value(value))
        return false;
    put(text, spelling.len > 0 ? spelling : field->name);
    put(text, SLICE(": "));
    put(text, value);
    put(text, SLICE("\r\n"));
    return true;
}

/* HTTP/2 sends cookies in crumbs; HTTP/1.1 wants one field (RFC 9113 §8.2.3). */
static bool put_cookies(struct text *text, const struct fields *fields)
{
    struct slice between = SLICE("Cookie: ");

    for (size_t i = 0; i < fields->count; i++) {
        if (fields->items[i].id != FIELD_COOKIE)
            continue;
        struct slice value = slice_trim(fields->items[i].value);
        if (!is_field_value(value))
            return false;
        put(text, between);
        put(text, value);
        between = SLICE("; ");
    }
    put(text, SLICE("\r\n"));
    return true;
}

static bool put_fields(struct text *text, const struct fields *fields, bool is_request)
{
    bool cookies_done = false;

    for (size_t i = 0; i < fields->count; i++) {
        const struct field *field = &fields->items[i];

        if (is_ours(field->id))
            continue;
        if (is_request && field->id == FIELD_COOKIE) {
            if (!cookies_done && !put_cookies(text, fields))
                return false;
            cookies_done = true;
        } else if (!put_field(text, field)) {
            return false;
        }
    }
    return true;
}

static void put_length(struct text *text, int64_t length)
{
    char digits[LINE_BYTES];
    size_t at = sizeof(digits);

    ENSURE(length >= 0);
    do {
        digits[--at] = (char)('0' + length % 10);
        length /= 10;
    } while (length > 0);
    put(text, SLICE("Content-Length: "));
    put(text, slice_of(digits + at, sizeof(digits) - at));
    put(text, SLICE("\r\n"));
}

/* Appends behind what waits already. */
static void add_head(struct h1_writer *writer, struct text *text)
{
    put(text, SLICE("\r\n"));
    if (writer->head.len > 0)
        buf_append(&writer->backlog, writer->head);
    writer->head = slice_of(text->bytes, text->len);
}

static struct text text_for(struct arena *arena, const struct head *head)
{
    size_t size = fields_bytes(&head->fields) + head->method.len + head->authority.len * 2 +
                  head->target.len + HEAD_SLACK_BYTES;

    return (struct text){ .bytes = arena_bytes(arena, size), .size = size };
}

static void open_body(struct h1_writer *writer, enum h1_out_kind kind, int64_t length)
{
    writer->kind = kind;
    writer->left = length > 0 ? (uint64_t)length : 0;
    writer->is_open = true;
}

/* ---- responses ---- */

static struct slice reason_of(unsigned status)
{
    static const struct {
        unsigned status;
        struct slice reason;
    } reasons[] = {
#define R(number, text)                                                                            \
    {                                                                                              \
        number,                                                                                    \
        {                                                                                          \
            .ptr = text, .len = sizeof(text) - 1                                                   \
        }                                                                                          \
    }
        R(200, "OK"),
        R(100, "Continue"),
        R(101, "Switching Protocols"),
        R(103, "Early Hints"),
        R(201, "Created"),
        R(202, "Accepted"),
        R(204, "No Content"),
        R(206, "Partial Content"),
        R(301, "Moved Permanently"),
        R(302, "Found"),
        R(303, "See Other"),
        R(304, "Not Modified"),
        R(307, "Temporary Redirect"),
        R(308, "Permanent Redirect"),
        R(400, "Bad Request"),
        R(401, "Unauthorized"),
        R(403, "Forbidden"),
        R(404, "Not Found"),
        R(405, "Method Not Allowed"),
        R(408, "Request Timeout"),
        R(409, "Conflict"),
        R(411, "Length Required"),
        R(412, "Precondition Failed"),
        R(413, "Content Too Large"),
        R(414, "URI Too Long"),
        R(415, "Unsupported Media Type"),
        R(416, "Range Not Satisfiable"),
        R(417, "Expectation Failed"),
        R(421, "Misdirected Request"),
        R(422, "Unprocessable Content"),
        R(426, "Upgrade Required"),
        R(429, "Too Many Requests"),
        R(431, "Request Header Fields Too Large"),
        R(500, "Internal Server Error"),
        R(501, "Not Implemented"),
        R(502, "Bad Gateway"),
        R(503, "Service Unavailable"),
        R(504, "Gateway Timeout"),
        R(505, "HTTP Version Not Supported"),
#undef R
    };

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return SLICE_EMPTY;
}

static void put_status_line(struct text *text, unsigned status)
{
    char digits[3] = { (char)('0' + status / 100), (char)('0' + status / 10 % 10),
                       (char)('0' + status % 10) };

    put(text, SLICE("HTTP/1.1 "));
    put(text, slice_of(digits, sizeof(digits)));
    put(text, SLICE(" "));
    put(text, reason_of(status));
    put(text, SLICE("\r\n"));
}

enum status h1_writer_interim(struct h1_writer *writer, struct arena *arena,
                              const struct head *head)
{
    if (head->status < 100 || head->status > 199 || head->status == 101)
        return STATUS_MALFORMED;

    struct text text = text_for(arena, head);

    put_status_line(&text, head->status);
    if (!put_fields(&text, &head->fields, false))
        return STATUS_MALFORMED;
    add_head(writer, &text);
    return STATUS_OK;
}

static bool has_no_body(unsigned status)
{
    return status < 200 || status == 204 || status == 304;
}

/* How the body is framed, and the field that says so. */
static void frame_response(struct h1_writer *writer, struct text *text, const struct head *head,
                           bool end, struct h1_response_facts *facts)
{
    int64_t length = head->content_length;
    bool bodyless = facts->is_head_request || has_no_body(head->status);

    if (end && length < 0 && !bodyless)
        length = 0;
    if (length >= 0 && head->status >= 200 && head->status != 204)
        put_length(text, length);
    if (bodyless) {
        open_body(writer, H1_OUT_NOTHING, 0);
    } else if (length >= 0) {
        open_body(writer, H1_OUT_LENGTH, length);
    } else if (facts->is_http_1_0) {
        facts->keep_alive = false;
        open_body(writer, H1_OUT_RAW, 0);
    } else {
        put(text, SLICE("Transfer-Encoding: chunked\r\n"));
        open_body(writer, H1_OUT_CHUNKED, 0);
    }
}

enum status h1_writer_response(struct h1_writer *writer, struct arena *arena,
                               const struct head *head, bool end, struct h1_response_facts *facts)
{
    bool is_upgrade = facts->can_upgrade && head->status == 101;
    bool promises = head->content_length > 0 && !facts->is_head_request;

    facts->is_tunnel =
        is_upgrade || (facts->is_connect && head->status >= 200 && head->status <= 299);
    if (head->status < 101 || head->status > 599 || (head->status < 200 && !is_upgrade) ||
        (end && promises && !has_no_body(head->status)))
        return STATUS_MALFORMED;

    struct text text = text_for(arena, head);

    put_status_line(&text, head->status);
    if (!put_fields(&text, &head->fields, false))
        return STATUS_MALFORMED;
    if (facts->is_tunnel) {
        if (is_upgrade)
            put(&text, SLICE("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
        facts->keep_alive = false;
        open_body(writer, H1_OUT_RAW, 0);
    } else {
        frame_response(writer, &text, head, end, facts);
        if (!facts->keep_alive)
            put(&text, SLICE("Connection: close\r\n"));
        else if (facts->is_http_1_0)
            put(&text, SLICE("Connection: keep-alive\r\n"));
    }
    add_head(writer, &text);
    return STATUS_OK;
}

/* ---- requests ---- */

static bool is_visible(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < 0x21 || text.ptr[i] > 0x7e)
            return false;
    return text.len > 0;
}

static bool expects_body(struct slice method)
{
    return slice_equal(method, SLICE("POST")) || slice_equal(method, SLICE("PUT")) ||
           slice_equal(method, SLICE("PATCH"));
}

static bool is_request_sane(const struct head *head, struct slice target, bool end)
{
    bool is_websocket = head->protocol.len > 0;

    if (is_websocket && !slice_equal(head->protocol, SLICE("websocket")))
        return false;
    return is_token(head->method) && is_visible(target) && is_visible(head->authority) &&
           slice_find(target, '#') == target.len &&
           (!is_websocket || slice_equal(head->method, SLICE("GET"))) &&
           (!end || head->content_length <= 0);
}

enum status h1_writer_request(struct h1_writer *writer, struct arena *arena,
                              const struct head *head, bool end)
{
    bool is_connect = slice_equal(head->method, SLICE("CONNECT"));
    bool is_tunnel = is_connect || head->protocol.len > 0;
    struct slice target = is_connect ? head->authority : head->target;

    if (!is_request_sane(head, target, end))
        return STATUS_MALFORMED;

    struct text text = text_for(arena, head);

    put(&text, head->method);
    put(&text, SLICE(" "));
    put(&text, target);
    put(&text, SLICE(" HTTP/1.1\r\nHost: "));
    put(&text, head->authority);
    put(&text, SLICE("\r\n"));
    if (!put_fields(&text, &head->fields, true))
        return STATUS_MALFORMED;
    if (is_tunnel) {
        if (!is_connect)
            put(&text, SLICE("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
        writer->kind = H1_OUT_RAW; /* opened by the response that makes the tunnel */
    } else if (head->content_length >= 0 || (end && expects_body(head->method))) {
        put_length(&text, head->content_length > 0 ? head->content_length : 0);
        open_body(writer, H1_OUT_LENGTH, head->content_length);
    } else if (end) {
        open_body(writer, H1_OUT_NOTHING, 0);
    } else {
        put(&text, SLICE("Transfer-Encoding: chunked\r\n"));
        open_body(writer, H1_OUT_CHUNKED, 0);
    }
    add_head(writer, &text);
    return STATUS_OK;
}

/* ---- the body ---- */

void h1_writer_deinit(struct h1_writer *writer)
{
    buf_deinit(&writer->backlog);
}

void h1_writer_restart(struct h1_writer *writer)
{
    struct buf backlog = writer->backlog;

    *writer = (struct h1_writer){ .backlog = backlog };
}

/* One gathered write, as planned before it is tried. */
struct plan {
    struct slice line; /* of a new chunk */
    struct slice data; /* from exchange->out */
    struct slice tail;
    bool ends;
    char line_bytes[LINE_BYTES];
};

static bool make_ending(struct h1_writer *writer, struct exchange *exchange)
{
    const struct fields *trailers = &exchange->out_trailers;
    size_t size = fields_bytes(trailers) + sizeof("\r\n0\r\n\r\n");

    if (writer->ending.len > 0)
        return true;
    if (trailers->count == 0) {
        writer->ending = SLICE("\r\n0\r\n\r\n");
        return true;
    }
    struct text text = { .bytes = arena_bytes(&exchange->arena, size), .size = size };
    put(&text, SLICE("\r\n0\r\n"));
    if (!put_fields(&text, trailers, false))
        return false;
    put(&text, SLICE("\r\n"));
    writer->ending = slice_of(text.bytes, text.len);
    return true;
}

static enum status plan_chunk(struct h1_writer *writer, struct exchange *exchange,
                              struct plan *plan)
{
    struct slice out = buf_slice(&exchange->out);

    if (writer->chunk_left == 0 && out.len > 0) {
        int len = snprintf(plan->line_bytes, sizeof(plan->line_bytes), "%zx\r\n", out.len);
        plan->line = slice_of(plan->line_bytes, (size_t)len);
        writer->chunk_left = out.len;
    }
    plan->data = slice_first(out, writer->chunk_left);
    plan->tail = plan->data.len > 0 ? SLICE("\r\n") : SLICE_EMPTY;
    plan->ends = exchange->out_ended && plan->data.len == out.len;
    if (!plan->ends)
        return STATUS_OK;
    if (!make_ending(writer, exchange))
        return STATUS_MALFORMED;
    plan->tail = plan->data.len > 0 ? writer->ending : slice_skip(writer->ending, 2);
    return STATUS_OK;
}

static enum status plan_body(struct h1_writer *writer, struct exchange *exchange, struct plan *plan)
{
    struct slice out = buf_slice(&exchange->out);

    if (!writer->is_open || writer->is_done)
        return STATUS_OK;
    if (writer->kind == H1_OUT_CHUNKED)
        return plan_chunk(writer, exchange, plan);
    plan->data = out;
    plan->ends = exchange->out_ended;
    if (writer->kind == H1_OUT_LENGTH &&
        (out.len > writer->left || (exchange->out_ended && out.len < writer->left)))
        return STATUS_MALFORMED;
    return STATUS_OK;
}

/* Takes from *count what of `part` went out; the rest is returned. */
static struct slice settle(struct slice part, size_t *count)
{
    size_t written = *count < part.len ? *count : part.len;

    *count -= written;
    return slice_skip(part, written);
}

/* Small parts that were begun or promised and did not go out wait in the backlog; body bytes wait
 * where they are. */
static void settle_plan(struct h1_writer *writer, struct exchange *exchange,
                        const struct plan *plan, size_t count, size_t *out_drained)
{
    size_t of_backlog = count < writer->backlog.len ? count : writer->backlog.len;

    count -= of_backlog;
    buf_consume(&writer->backlog, of_backlog);

    struct slice head = settle(writer->head, &count);
    struct slice line = settle(plan->line, &count);
    size_t of_data = count < plan->data.len ? count : plan->data.len;
    bool data_done = of_data == plan->data.len;

    count -= of_data;
    buf_append(&writer->backlog, head);
    buf_append(&writer->backlog, line);
    writer->head = SLICE_EMPTY;
    if (of_data > 0) {
        buf_consume(&exchange->out, of_data);
        *out_drained += of_data;
        if (writer->kind == H1_OUT_LENGTH)
            writer->left -= of_data;
        if (writer->kind == H1_OUT_CHUNKED)
            writer->chunk_left -= of_data;
    }
    if (data_done) {
        buf_append(&writer->backlog, settle(plan->tail, &count));
        writer->is_done |= plan->ends;
    }
}

static enum status drop_body(struct h1_writer *writer, struct exchange *exchange,
                             size_t *out_drained)
{
    *out_drained += exchange->out.len;
    if (exchange->out.len > 0)
        buf_consume(&exchange->out, exchange->out.len);
    writer->is_done |= exchange->out_ended;
    return STATUS_OK;
}

/* False when there is nothing to write. */
static bool write_once(struct h1_writer *writer, struct conn *conn, struct exchange *exchange,
                       enum status *out_status, size_t *out_drained)
{
    struct plan plan = { .line = SLICE_EMPTY, .data = SLICE_EMPTY, .tail = SLICE_EMPTY };
    size_t count = 0;

    *out_status = exchange != NULL ? plan_body(writer, exchange, &plan) : STATUS_OK;
    if (*out_status != STATUS_OK)
        return false;

    struct slice parts[] = { buf_slice(&writer->backlog), writer->head, plan.line, plan.data,
                             plan.tail };
    size_t total = 0;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        total += parts[i].len;
    if (total > 0)
        *out_status = conn_write(conn, parts, sizeof(parts) / sizeof(parts[0]), &count);
    if (*out_status == STATUS_AGAIN)
        count = 0;
    else if (*out_status != STATUS_OK)
        return false;
    writer->written_bytes += count;
    settle_plan(writer, exchange, &plan, count, out_drained);
    if (count < total)
        *out_status = STATUS_AGAIN;
    return total > 0 && count == total;
}

enum status h1_writer_flush(struct h1_writer *writer, struct conn *conn, struct exchange *exchange,
                            size_t *out_drained)
{
    enum status status = STATUS_OK;

    if (exchange != NULL && writer->is_open && writer->kind == H1_OUT_NOTHING && !writer->is_done)
        status = drop_body(writer, exchange, out_drained);
    for (unsigned i = 0; i < WRITES_PER_FLUSH; i++)
        if (!write_once(writer, conn, exchange, &status, out_drained))
            break;
    return status;
}
