/* tests/load/request.c — see run.h. A request waits for room, flies, and ends once. */
#include "base/mem.h"
#include "run.h"

enum outcome outcome_of_reset(enum exchange_reset reason)
{
    switch (reason) {
    case RESET_REFUSED:
        return OUTCOME_REFUSED;
    case RESET_LOST:
        return OUTCOME_LOST;
    case RESET_PROTOCOL:
        return OUTCOME_MALFORMED;
    default:
        return OUTCOME_RESET;
    }
}

/* {"code":"unavailable",…} or {"error":{"code":…}}; the first "code" is it. */
enum outcome outcome_of_json(struct slice json)
{
    static const char mark[] = "\"code\":\"";
    const char *at = json.len > 0 ? memmem(json.ptr, json.len, mark, sizeof(mark) - 1) : NULL;
    enum connect_code code;
    struct slice rest;

    if (at == NULL)
        return OUTCOME_OK;
    rest = slice_of(at + sizeof(mark) - 1, (size_t)(json.ptr + json.len - at) - (sizeof(mark) - 1));
    rest = slice_first(rest, slice_find(rest, '"'));
    return connect_code_from_text(rest, &code) && code != CONNECT_OK ? (enum outcome)code
                                                                     : OUTCOME_MALFORMED;
}

static enum outcome outcome_of_status(const struct request *request)
{
    enum outcome outcome = outcome_of_json(slice_of(request->error, request->error_len));

    if (outcome != OUTCOME_OK && outcome != OUTCOME_MALFORMED)
        return outcome;
    return request->status >= 500   ? OUTCOME_HTTP_5XX
           : request->status >= 400 ? OUTCOME_HTTP_4XX
                                    : OUTCOME_HTTP_OTHER;
}

static void let_go(struct request *request)
{
    if (list_is_linked(&request->link)) {
        list_unlink(&request->link);
        request->run->busy_count--;
    }
    timer_cancel(&request->deadline);
    exchange_release(&request->exchange);
    buf_deinit(&request->body);
}

static void end(struct request *request, enum outcome outcome)
{
    if (request->has_ended)
        return;
    request->has_ended = true;
    let_go(request);
    request->events->on_end(request, outcome); /* last line: the request may be gone */
}

/* ---- what the codec tells ---- */

static bool is_good(const struct request *request)
{
    if (request->shape == SHAPE_PLAIN && request->protocol.len == 0)
        return request->status == request->run->load->status;
    return request->protocol.len > 0 ? request->status == 101 || request->status == 200
                                     : request->status == 200;
}

static void finished(struct request *request)
{
    end(request, is_good(request) ? OUTCOME_OK : outcome_of_status(request));
}

static void on_interim(struct exchange *exchange, const struct head *head)
{
    (void)exchange;
    (void)head;
}

static void on_head(struct exchange *exchange, const struct head *head)
{
    struct request *request = exchange->owner;

    request->status = head->status;
    if (request->events->on_head != NULL && is_good(request))
        request->events->on_head(request);
    if (!request->has_ended && exchange->in_ended)
        finished(request);
}

static void on_body(struct exchange *exchange, struct slice bytes)
{
    struct request *request = exchange->owner;

    request->run->now.bytes_in += bytes.len;
    exchange_consumed(exchange, bytes.len);
    if (!is_good(request)) {
        struct slice part = slice_first(bytes, ERROR_BYTES - request->error_len);
        memcpy(request->error + request->error_len, part.ptr, part.len);
        request->error_len += part.len;
    } else if (request->events->on_bytes != NULL) {
        request->events->on_bytes(request, bytes); /* last line */
    }
}

static void on_end(struct exchange *exchange, const struct fields *trailers)
{
    (void)trailers;
    finished(exchange->owner);
}

static void on_drained(struct exchange *exchange, size_t size_bytes)
{
    struct request *request = exchange->owner;

    request->run->now.bytes_out += size_bytes;
}

static void on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    end(exchange->owner, outcome_of_reset(reason));
}

static const struct exchange_events exchange_events = {
    .on_interim = on_interim,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_drained = on_drained,
    .on_reset = on_reset,
};

/* ---- what the owner asks for ---- */

static void on_deadline(struct timer *timer)
{
    end(CONTAINER_OF(timer, struct request, deadline), OUTCOME_TIMEOUT);
}

void request_init(struct request *request, struct run *run, const struct request_events *events,
                  uint64_t due_us)
{
    *request = (struct request){
        .run = run,
        .events = events,
        .due_us = due_us,
        .method = SLICE("POST"),
        .auth = AUTH_BEARER,
        .identities = &run->lane->settings->exec,
        .timeout_ms = run->load->timeout_ms,
    };
    list_init(&request->link);
    timer_init(&request->deadline, run->lane->loop, on_deadline);
}

static void add_field(struct fields *fields, enum field_id id, struct slice value)
{
    if (value.len > 0 && fields->count < REQUEST_FIELDS)
        fields->items[fields->count++] = (struct field){ field_name(id), value, id };
}

static void add_credentials(struct fields *fields, const struct request *request)
{
    if (request->identity == NULL)
        return;
    if (request->auth == AUTH_BEARER)
        add_field(fields, FIELD_AUTHORIZATION, request->identity->bearer);
    else if (request->auth == AUTH_COOKIE)
        add_field(fields, FIELD_COOKIE, request->identity->cookie);
}

static void add_fields(struct fields *fields, struct request *request)
{
    add_credentials(fields, request);
    add_field(fields, FIELD_CONTENT_TYPE, request->content_type);
    if (request->shape != SHAPE_PLAIN)
        add_field(fields, FIELD_CONNECT_PROTOCOL_VERSION, SLICE("1"));
    add_field(fields, FIELD_CONNECT_TIMEOUT_MS, request->timeout);
    if (request->protocol.len > 0) {
        if (request->run->load->protocol ==
            PROTOCOL_H1) /* the sample nonce of RFC 6455 §1.2: the answer is not checked */
            add_field(fields, FIELD_SEC_WEBSOCKET_KEY, SLICE("dGhlIHNhbXBsZSBub25jZQ=="));
        add_field(fields, FIELD_SEC_WEBSOCKET_VERSION, SLICE("13"));
        return;
    }
}

static void fly(struct request *request, struct http_client *client, unsigned connection)
{
    const struct endpoint *endpoint = request->run->endpoint;
    struct head head = {
        .method = request->method,
        .scheme = endpoint->scheme,
        .authority = request->authority.len > 0 ? request->authority : endpoint->authority,
        .target = request->path,
        .protocol = request->protocol,
        .fields = { request->fields, 0, REQUEST_FIELDS },
        .content_length = CONTENT_LENGTH_UNKNOWN,
    };
    bool end_now = !request->keep_open && request->body.len == 0 && request->protocol.len == 0;

    if (request->identity == NULL)
        request->identity = run_identity(request->run, request->identities, connection);
    add_fields(&head.fields, request);
    if (!request->keep_open && !end_now && request->protocol.len == 0)
        head.content_length = (int64_t)request->body.len;
    request->exchange = http_client_open(client, &head, end_now, &exchange_events, request);
    list_append(&request->run->flying, &request->link);
    if (request->body.len > 0)
        exchange_write(request->exchange, buf_slice(&request->body));
    if (!end_now && !request->keep_open && request->protocol.len == 0)
        exchange_end(request->exchange, NULL);
    buf_deinit(&request->body);
}

void request_start(struct request *request)
{
    struct run *run = request->run;
    struct http_client *client = NULL;
    unsigned connection = 0;

    if (run->busy_count >= run->load->max_in_flight / run->lane->settings->lane_count + 1) {
        end(request, OUTCOME_OVERRUN);
        return;
    }
    run->busy_count++;
    if (request->timeout_ms > 0)
        timer_arm(&request->deadline, request->timeout_ms);
    if (list_is_empty(&run->waiting))
        client = pool_take(run->pool, &connection);
    if (client != NULL)
        fly(request, client, connection);
    else
        list_append(&run->waiting, &request->link);
}

void requests_go_on(struct run *run)
{
    unsigned connection = 0;

    while (!list_is_empty(&run->waiting)) {
        struct http_client *client = pool_take(run->pool, &connection);
        struct request *request = LIST_FIRST(&run->waiting, struct request, link);

        if (client == NULL)
            return;
        list_unlink(&request->link);
        fly(request, client, connection);
    }
}

void request_write(struct request *request, struct slice bytes)
{
    if (request->exchange != NULL)
        exchange_write(request->exchange, bytes);
}

void request_finish(struct request *request)
{
    if (request->exchange != NULL && !request->exchange->out_ended)
        exchange_end(request->exchange, NULL);
}

void request_held(struct request *request)
{
    timer_cancel(&request->deadline);
}

void request_cancel(struct request *request)
{
    if (request->has_ended)
        return;
    request->has_ended = true;
    let_go(request);
}

void request_fail(struct request *request, enum outcome outcome)
{
    end(request, outcome);
}
