/* http/h1_response.c — the input of an HTTP/1 client connection. Guests are hostile: a response
 * that is not framed beyond doubt ends the conn, a body that is cut is never a clean end, and a
 * byte that nobody asked for makes the conn unfit for a next request. */
#include "http/h1_client.h"

enum {
    READ_SCRATCH_BYTES = 64 * 1024,
    READS_PER_WAKE = 4,
    INTERIM_HEADS = 8,
    LINE_SLACK_BYTES = 64,
};

static _Thread_local char read_scratch[READ_SCRATCH_BYTES];

static size_t window_left(const struct h1_client *c)
{
    size_t window = c->base.limits->window_bytes, used = c->call->unconsumed_bytes;

    return window > used ? window - used : 0;
}

static size_t read_budget(const struct h1_client *c)
{
    const struct h1_call *call = c->call;

    if (c->is_closed || c->input_ended || c->is_doomed)
        return 0;
    if (call == NULL || !call->has_head)
        return READ_SCRATCH_BYTES;
    if (c->pending.len > 0)
        return 0;
    if (call->base
            .in_ended) /* the request is still going out: notice the end, or a byte too many */
        return 1;
    size_t left = window_left(c);
    return left < READ_SCRATCH_BYTES ? left : READ_SCRATCH_BYTES;
}

void h1_client_update_reading(struct h1_client *c)
{
    if (c->is_closed)
        return;
    bool wanted = read_budget(c) > 0;
    if (wanted != c->is_reading) {
        c->is_reading = wanted;
        conn_want_read(c->base.conn, wanted);
    }
}

static bool opens_tunnel(const struct h1_call *call, const struct head *head,
                         const struct h1_framing *framing)
{
    if (!call->wants_tunnel)
        return false;
    if (call->asks_connect)
        return head->status >= 200 && head->status <= 299;
    return head->status == 101 && framing->is_upgrade && head->protocol.len > 0;
}

/* RFC 9112 §6.3, without its lenient parts. */
static void frame_body(struct h1_client *c, struct h1_call *call, const struct head *head,
                       const struct h1_framing *framing)
{
    if (call->is_tunnel)
        h1_body_init(&c->body, H1_BODY_UNTIL_CLOSE, 0);
    else if (call->is_head_request || head->status == 204 || head->status == 304)
        h1_body_init(&c->body, H1_BODY_NONE, 0);
    else if (framing->is_chunked)
        h1_body_init(&c->body, H1_BODY_CHUNKED, 0);
    else if (head->content_length >= 0)
        h1_body_init(&c->body, head->content_length > 0 ? H1_BODY_LENGTH : H1_BODY_NONE,
                     (uint64_t)head->content_length);
    else
        h1_body_init(&c->body, H1_BODY_UNTIL_CLOSE, 0);
    call->base.in_ended = c->body.kind == H1_BODY_NONE;
    call->keep_alive = framing->keep_alive && !h1_body_may_end(&c->body);
}

static void take_final_head(struct h1_client *c, struct h1_call *call,
                            const struct h1_framing *framing)
{
    struct head *head = &call->base.response;

    call->has_head = true;
    call->is_tunnel = opens_tunnel(call, head, framing);
    if (head->status == 101 && !call->is_tunnel) {
        h1_client_lost(c, RESET_PROTOCOL);
        return;
    }
    frame_body(c, call, head, framing);
    if (call->wants_tunnel) {
        call->keep_alive = false;
        c->writer.is_open = true;
        if (!call->is_tunnel)
            c->writer.kind = H1_OUT_NOTHING;
    }
    h1_client_schedule(c);
    if (h1_call_has_owner(call))
        call->base.events->on_head(&call->base, head);
}

static void take_interim(struct h1_client *c, struct h1_call *call)
{
    struct head head = call->base.response;

    call->base.response = (struct head){ .content_length = CONTENT_LENGTH_UNKNOWN };
    if (++call->interim_count > INTERIM_HEADS)
        h1_client_lost(c, RESET_PROTOCOL);
    else if (h1_call_has_owner(call))
        call->base.events->on_interim(&call->base, &head);
}

static bool is_head_too_long(const struct h1_client *c, struct slice bytes)
{
    return bytes.len > c->base.limits->field_bytes_soft + LINE_SLACK_BYTES;
}

/* False: needs more bytes, or the client is lost. */
static bool take_head(struct h1_client *c, struct slice *rest)
{
    struct h1_call *call = c->call;
    struct h1_framing framing;
    size_t len = 0;

    if (rest->len == 0)
        return false;
    call->heard = true;

    enum status status = h1_scan_head(&c->scan, *rest, &len);

    if (status == STATUS_AGAIN && !is_head_too_long(c, *rest))
        return false;
    if (status == STATUS_OK)
        status = h1_parse_response(slice_first(*rest, len), c->base.limits, &call->base.arena,
                                   &call->base.response, &framing);
    if (status != STATUS_OK) {
        *rest = slice_skip(*rest, rest->len);
        h1_client_lost(c, RESET_PROTOCOL);
        return false;
    }
    *rest = slice_skip(*rest, len);
    c->scan = (struct h1_scan){ 0 };
    if (call->base.response.status < 200 && call->base.response.status != 101)
        take_interim(c, call);
    else
        take_final_head(c, call, &framing);
    return true;
}

static void end_body(struct h1_client *c)
{
    struct h1_call *call = c->call;

    if (c->body.trailers.len > 0) {
        enum status status = h1_parse_trailers(buf_slice(&c->body.trailers), c->base.limits,
                                               &call->base.arena, &call->base.trailers);
        h1_body_deinit(&c->body);
        if (status != STATUS_OK) {
            h1_client_lost(c, RESET_PROTOCOL);
            return;
        }
    }
    call->base.in_ended = true;
    h1_client_schedule(c);
    if (h1_call_has_owner(call))
        call->base.events->on_end(&call->base, &call->base.trailers);
}

static bool take_body(struct h1_client *c, struct slice *rest)
{
    struct h1_call *call = c->call;
    struct slice part = slice_first(*rest, window_left(c)), data;
    size_t before = part.len;
    enum h1_body_step step = h1_body_next(&c->body, c->base.limits, &part, &data);

    *rest = slice_skip(*rest, before - part.len);
    switch (step) {
    case H1_STEP_DATA:
        call->unconsumed_bytes += data.len;
        if (h1_call_has_owner(call))
            call->base.events->on_body(&call->base, data);
        return true;
    case H1_STEP_END:
        end_body(c);
        return true;
    case H1_STEP_BAD:
        *rest = slice_skip(*rest, rest->len);
        h1_client_lost(c, RESET_PROTOCOL);
        return false;
    case H1_STEP_MORE:
        break;
    }
    return before > 0 && rest->len > 0; /* the window cut it short inside a chunk line */
}

static void take_input(struct h1_client *c, struct slice *rest)
{
    bool more = true;

    while (more && !c->is_closed && !c->is_doomed) {
        struct h1_call *call = c->call;

        if (call == NULL || call->base.in_ended) {
            if (rest->len > 0) { /* nobody asked for it */
                if (call != NULL)
                    call->keep_alive = false;
                else
                    h1_client_close(c);
                *rest = slice_skip(*rest, rest->len);
            }
            return;
        }
        more = call->has_head ? take_body(c, rest) : take_head(c, rest);
    }
}

void h1_client_take_pending(struct h1_client *c)
{
    struct slice rest = buf_slice(&c->pending);
    size_t before = rest.len;

    if (before == 0)
        return;
    take_input(c, &rest);
    buf_consume(&c->pending, before - rest.len);
}

static void feed(struct h1_client *c, struct slice bytes)
{
    if (c->pending.len > 0) {
        buf_append(&c->pending, bytes);
        h1_client_take_pending(c);
        return;
    }
    take_input(c, &bytes);
    if (bytes.len > 0 && !c->is_closed)
        buf_append(&c->pending, bytes);
}

/* A clean end of the conn; what is in `pending` still waits for its window. */
void h1_client_settle_end(struct h1_client *c)
{
    struct h1_call *call = c->call;

    if (call == NULL) {
        h1_client_close(c);
        return;
    }
    if (c->pending.len > 0 && call->has_head)
        return;
    if (call->has_head && !call->base.in_ended && h1_body_may_end(&c->body)) {
        c->body.kind = H1_BODY_NONE;
        end_body(c);
    } else if (!call->base.in_ended) {
        h1_client_lost(c, h1_client_loss(c));
    } else {
        call->keep_alive = false; /* the rest of the request may still matter to it */
    }
}

void h1_client_read(struct h1_client *c)
{
    for (unsigned i = 0; i < READS_PER_WAKE; i++) {
        size_t budget = read_budget(c), count = 0;

        if (budget == 0)
            return;
        enum status status = conn_read(c->base.conn, read_scratch, budget, &count);
        if (status == STATUS_OK) {
            feed(c, slice_of(read_scratch, count));
            if (count < budget)
                return;
        } else {
            if (status == STATUS_CLOSED) {
                c->input_ended = true;
                h1_client_start_closing(c, STATUS_CLOSED);
                h1_client_settle_end(c);
            } else if (status != STATUS_AGAIN) {
                h1_client_lost(c, h1_client_loss(c));
            }
            return;
        }
    }
}
