/* proxy/call_events.c — see call_events.h. Every function here is an entry from the loop:
 * call_enter() first, call_leave() last. */
#include "proxy/call_events.h"

#include "proxy/agent_outcome.h"
#include "proxy/call_expiry.h"
#include "proxy/call_log.h"
#include "proxy/forward_headers.h"
#include "proxy/plain_call.h"
#include "proxy/port_call.h"

enum { HEAD_MEMORY_BYTES = 2048 };

static bool has_its_end(const struct call *call)
{
    return call->state >= CALL_FINISHING;
}

/* ---- the client's exchange ---- */

static const char no_envelope[] =
    "the body is bare JSON, but application/connect+json wants every message behind a 5-byte "
    "prefix "
    "(flags, length); send Content-Type: application/json for the form without it";

static bool lacks_envelope(const struct call *call, struct slice bytes)
{
    return call->port == NULL && call->exec.caller == CALLER_CONNECT_STREAM &&
           call->relay.request_bytes == 0 && bytes.ptr[0] == '{';
}

/* A preflight reaches the app without a token, and so without a body. */
static bool drops_body(const struct call *call)
{
    return call->port != NULL && call->port->request.is_preflight;
}

static void on_client_body(struct exchange *exchange, struct slice bytes)
{
    struct call *call = exchange->owner;

    call_enter(call);
    if (has_its_end(call) || drops_body(call)) {
        exchange_consumed(exchange, bytes.len);
    } else if (call->plain != NULL) {
        plain_call_body(call, bytes);
        if (call->state == CALL_COLLECTING)
            call_run(call);
    } else if (lacks_envelope(call, bytes)) {
        call->words = no_envelope;
        call_fail(call, STATUS_MALFORMED);
    } else {
        relay_request_body(&call->relay, bytes);
    }
    call_leave(call);
}

static void request_ended(struct call *call, const struct fields *trailers)
{
    relay_request_end(&call->relay, trailers);
    if (call->port == NULL)
        return;
    if (call->port->is_tunnel && call->relay.upstream->in_ended)
        call_finish(call, STATUS_OK, ENDED_BY_CLIENT);
    else if (call->port->is_tunnel)
        port_call_half_closed(call);
    else
        port_call_note_progress(call);
}

static void on_client_end(struct exchange *exchange, const struct fields *trailers)
{
    struct call *call = exchange->owner;

    call_enter(call);
    if (call->state == CALL_COLLECTING)
        call_run(call);
    else if (call->plain == NULL && !has_its_end(call) && !drops_body(call))
        request_ended(call, trailers);
    call_leave(call);
}

static void on_client_drained(struct exchange *exchange, size_t size_bytes)
{
    struct call *call = exchange->owner;

    call_enter(call);
    call->client_bytes += size_bytes;
    if (call->state == CALL_FINISHING)
        call->state_due_ms = call_now_ms(call) + call_states[CALL_FINISHING].limit_ms;
    if (call->plain != NULL)
        plain_call_drained(call);
    else
        relay_client_drained(&call->relay, size_bytes);
    call_leave(call);
}

static void client_gone(struct call *call, enum status status)
{
    if (call->outcome == STATUS_OK) {
        call->outcome = status;
        call->ended_by = ENDED_BY_CLIENT;
    }
    call_close_client(call, RESET_CANCEL);
}

static void on_client_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct call *call = exchange->owner;

    call_enter(call);
    client_gone(call, reason == RESET_LOST ? STATUS_CLIENT_LOST : STATUS_CANCELED);
    call_leave(call);
}

/* Responses do not come from clients. */
static void on_client_head(struct exchange *exchange, const struct head *head)
{
    (void)exchange;
    (void)head;
}

const struct exchange_events call_client_events = {
    .on_interim = on_client_head,
    .on_head = on_client_head,
    .on_body = on_client_body,
    .on_end = on_client_end,
    .on_drained = on_client_drained,
    .on_reset = on_client_reset,
};

/* ---- the agent's exchange ---- */

static void on_upstream_interim(struct exchange *exchange, const struct head *head)
{
    struct call *call = exchange->owner;
    struct exchange *client = call_client(call);
    struct head passed = { .status = head->status, .content_length = CONTENT_LENGTH_UNKNOWN };

    /* 100 was sent by us when the call was let in; HTTP/1.0 knows none of these. */
    if (call->plain != NULL || client->link->version == HTTP_1_0 ||
        (call->port != NULL ? !port_call_interim_passes(call, head->status) : head->status == 100))
        return;
    call_enter(call);
    forward_response_fields(&head->fields, &client->arena, &passed.fields);
    exchange_send_interim(client, &passed);
    call_leave(call);
}

/* Is the response the stream that the caller's protocol promises? Then it is followed, to know how
 * it may end. */
static void track_response(struct call *call, const struct head *head)
{
    struct slice type = fields_value(&head->fields, FIELD_CONTENT_TYPE);
    struct relay *relay = &call->relay;

    if (head->status != 200)
        return;
    if (call->exec.caller == CALLER_CONNECT_STREAM)
        relay->tracks_edge = slice_starts_with_nocase(type, SLICE("application/connect+"));
    else if (call->exec.caller == CALLER_GRPC_WEB)
        relay->tracks_edge = slice_starts_with_nocase(type, SLICE("application/grpc-web"));
    else if (call->exec.caller == CALLER_GRPC)
        relay->tracks_edge = slice_starts_with_nocase(type, SLICE("application/grpc"));
    if (fields_find_named(&head->fields, SLICE("grpc-status")) != NULL)
        relay->tracks_edge = false; /* all is said in the head */
    stream_edge_init(&relay->edge, call->exec.caller == CALLER_CONNECT_STREAM ? 0x02
                                   : call->exec.caller == CALLER_GRPC_WEB     ? 0x80
                                                                              : 0);
}

/* A stream that ends without the end that its protocol demands was cut: it must not look like
 * success. */
static bool response_is_cut(const struct call *call, const struct fields *trailers)
{
    const struct relay *relay = &call->relay;

    if (!relay->tracks_edge)
        return false;
    if (call->exec.caller == CALLER_GRPC)
        return fields_find_named(trailers, SLICE("grpc-status")) == NULL;
    return !relay->edge.saw_end || !stream_edge_is_at(&relay->edge);
}

static void response_ended(struct call *call, const struct fields *trailers)
{
    struct exchange *client = call_client(call);
    struct fields passed = { 0 };

    if (response_is_cut(call, trailers)) {
        call->words = "the computer's agent ended the stream before its end";
        call->ended_by = ENDED_BY_AGENT;
        call_fail(call, STATUS_AGENT_LOST);
        return;
    }
    agent_outcome_end(call, trailers);
    forward_trailers(trailers, &client->arena, &passed);
    exchange_end(client, &passed);
    if (call->port != NULL && call->port->is_tunnel && !client->in_ended)
        port_call_half_closed(call);
    else
        call_finish(call, STATUS_OK, ENDED_BY_AGENT);
}

static void send_response_head(struct call *call, const struct head *head, bool end)
{
    struct exchange *client = call_client(call);
    struct head passed = { .status = head->status, .content_length = head->content_length };
    char memory[HEAD_MEMORY_BYTES];
    struct arena arena;

    arena_init(&arena, memory, sizeof(memory)); /* no head is kept beyond exchange_send_head() */
    forward_response_fields(&head->fields, &arena, &passed.fields);
    fields_add(&passed.fields, &arena, FIELD_X_REQUEST_ID, call->request_id);
    /* An agent that answers CORS by itself (envd does) is not answered for twice. */
    if (fields_find_named(&head->fields, SLICE("access-control-allow-origin")) == NULL)
        cors_add_fields(cors_allowed_origin(&call->config->cors, &client->request.fields), &arena,
                        &passed.fields);
    call->client_status = head->status;
    exchange_send_head(client, &passed, end);
    arena_deinit(&arena);
}

/* A stream may stay open for hours with nothing on it. */
static void shrink_stream(struct call *call)
{
    struct exchange *upstream = call->relay.upstream;

    /* Trailers that wait may be in HTTP/1's exchange. */
    if (upstream->link->version != HTTP_2 || upstream->out_trailers.count > 0)
        return;
    exchange_shrink(upstream, NULL, 0);
    call_log_keep(call);
}

static void on_upstream_head(struct exchange *exchange, const struct head *head)
{
    static const struct fields none;
    struct call *call = exchange->owner;
    uint64_t us = loop_clock(call->proxy->loop)->now_us - call->times.began_us + 1;
    bool ends = exchange->in_ended;

    call_enter(call);
    call->times.head_us = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    call->has_upstream_head = true;
    relay_response_head(&call->relay);
    arena_deinit(&call->heads);
    agent_outcome_head(call, head);
    if (call->port != NULL) {
        port_call_response_head(call, head, ends);
    } else if (head->status < 200) { /* 101: nobody asked to switch */
        call_fail(call, STATUS_AGENT_PROTOCOL);
    } else if (call->plain != NULL) {
        plain_call_response_head(call, head);
        if (ends && !has_its_end(call))
            plain_call_response_end(call);
    } else {
        track_response(call, head);
        bool is_whole = ends && !response_is_cut(call, &none);
        send_response_head(call, head, is_whole);
        if (is_whole)
            call_finish(call, STATUS_OK, ENDED_BY_AGENT);
        else if (ends)
            response_ended(call, &none);
        else if (call->relay.tracks_edge)
            shrink_stream(call);
    }
    call_leave(call);
}

static void on_upstream_body(struct exchange *exchange, struct slice bytes)
{
    struct call *call = exchange->owner;

    call_enter(call);
    if (call->plain != NULL) {
        plain_call_response_body(call, bytes);
    } else if (call->cut != STATUS_OK) {
        if (relay_response_body_to_edge(&call->relay, bytes))
            call_fail(call, call->cut);
    } else {
        relay_response_body(&call->relay, bytes);
    }
    call_leave(call);
}

static void on_upstream_end(struct exchange *exchange, const struct fields *trailers)
{
    struct call *call = exchange->owner;

    call_enter(call);
    if (call->plain != NULL)
        plain_call_response_end(call);
    else
        response_ended(call, trailers);
    call_leave(call);
}

static void on_upstream_drained(struct exchange *exchange, size_t size_bytes)
{
    struct call *call = exchange->owner;

    if (call->plain != NULL) /* its body was consumed when it was collected */
        return;
    call_enter(call);
    relay_upstream_drained(&call->relay, size_bytes);
    if (call->port != NULL)
        port_call_note_progress(call);
    call_leave(call);
}

static enum status status_of_reset(enum exchange_reset reason)
{
    switch (reason) {
    case RESET_LOST:
        return STATUS_AGENT_LOST;
    case RESET_REFUSED:
    case RESET_CALM:
        return STATUS_AGENT_BUSY;
    case RESET_PROTOCOL:
        return STATUS_AGENT_PROTOCOL;
    default:
        return STATUS_AGENT_RESET;
    }
}

static void on_upstream_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct call *call = exchange->owner;

    call_enter(call);
    call->upstream_reset = (int)reason;
    call->ended_by = ENDED_BY_AGENT;
    if (reason == RESET_REFUSED && !call->has_upstream_head)
        call_refused(call, status_of_reset(reason));
    else if (call->port == NULL || (reason != RESET_LOST && reason != RESET_CALM) ||
             !port_call_may_repeat(call) || !call_try_again(call))
        call_fail(call, status_of_reset(reason));
    call_leave(call);
}

const struct exchange_events call_upstream_events = {
    .on_interim = on_upstream_interim,
    .on_head = on_upstream_head,
    .on_body = on_upstream_body,
    .on_end = on_upstream_end,
    .on_drained = on_upstream_drained,
    .on_reset = on_upstream_reset,
};

/* ---- the session ---- */

static struct slice kind_text(enum principal_kind kind)
{
    return kind == PRINCIPAL_EXEC  ? SLICE("exec")
           : kind == PRINCIPAL_VNC ? SLICE("vnc")
                                   : SLICE("browser");
}

static enum status judge_session(struct call *call, enum status status, const struct record *record)
{
    if (status == STATUS_TOKEN_REVOKED && !call->config->options.sessions_required)
        return STATUS_OK; /* there is none, and need not be */
    if (status != STATUS_OK)
        return status;
    const struct session *session = &record->session;
    int64_t left_ms = session->expires_wall_ms - loop_clock(call->proxy->loop)->wall_ms;

    if (session->revoked)
        return STATUS_TOKEN_REVOKED;
    if (session->computer_id.len > 0 &&
        !slice_equal(session->computer_id, call->principal->computer_id))
        return STATUS_TOKEN_COMPUTER;
    if (session->kind.len > 0 && !slice_equal(session->kind, kind_text(call->principal->kind)))
        return STATUS_TOKEN_KIND;
    if (session->expires_wall_ms != 0 && left_ms <= 0)
        return STATUS_TOKEN_EXPIRED;
    if (session->expires_wall_ms != 0)
        call_expiry_note_session(call, session->expires_wall_ms);
    return STATUS_OK;
}

static void session_settled(struct call *call, enum status status, struct record *record)
{
    status = judge_session(call, status, record);
    record_unref(&record);
    call->session_known = true;
    if (status == STATUS_OK)
        record_watch_start(call->proxy->routes, &call->session_watch, RECORD_SESSION,
                           call->principal->session_id);
    else
        call_fail(call, status);
}

static void on_session_found(void *arg, enum status status, struct record *record)
{
    struct call *call = arg;

    call_enter(call);
    call->session_lookup = NULL;
    session_settled(call, status, record);
    call_run(call);
    call_leave(call);
}

void call_find_session(struct call *call)
{
    struct record *record = NULL;

    if (call->principal == NULL) {
        call->session_known = true;
        return;
    }
    enum status status = route_resolver_find(call->proxy->routes, RECORD_SESSION,
                                             call->principal->session_id, &record);
    if (status != STATUS_AGAIN)
        session_settled(call, status, status == STATUS_OK ? record : NULL);
    else
        call->session_lookup =
            route_lookup_start(call->proxy->routes, RECORD_SESSION, call->principal->session_id,
                               on_session_found, call);
}

void call_on_session_change(struct record_watch *watch, enum status status,
                            const struct record *record)
{
    struct call *call = CONTAINER_OF(watch, struct call, session_watch);

    call_enter(call);
    status = judge_session(call, status, record);
    if (status != STATUS_OK)
        call_cut(call, status);
    call_leave(call);
}

/* ---- the computer ---- */

static enum status judge_computer(enum status status, const struct record *record)
{
    if (status != STATUS_OK)
        return status;
    if (record->computer.state == COMPUTER_DELETED)
        return STATUS_COMPUTER_UNKNOWN;
    return record->computer.state == COMPUTER_RUNNING ? STATUS_OK : STATUS_COMPUTER_NOT_RUNNING;
}

static void computer_settled(struct call *call, enum status status, struct record *record)
{
    status = judge_computer(status, record);
    call->computer_known = true;
    call->needs_wake =
        status == STATUS_COMPUTER_NOT_RUNNING && call->config->options.wake.is_enabled;
    if (status != STATUS_OK && !call->needs_wake) {
        record_unref(&record);
        call_fail(call, status);
        return;
    }
    ENSURE(record != NULL); /* both of the states that are left come from one */
    call->computer = record;
    record_watch_start(call->proxy->routes, &call->computer_watch, RECORD_COMPUTER, record->id);
}

static void on_computer_found(void *arg, enum status status, struct record *record)
{
    struct call *call = arg;

    call_enter(call);
    call->computer_lookup = NULL;
    computer_settled(call, status, record);
    call_run(call);
    call_leave(call);
}

void call_find_computer(struct call *call)
{
    struct record *record = NULL;
    struct slice id = call_computer_id(call);
    enum status status = route_resolver_find(call->proxy->routes, RECORD_COMPUTER, id, &record);

    if (status != STATUS_AGAIN)
        computer_settled(call, status, status == STATUS_OK ? record : NULL);
    else
        call->computer_lookup =
            route_lookup_start(call->proxy->routes, RECORD_COMPUTER, id, on_computer_found, call);
}

static bool is_same_place(const struct computer *a, const struct computer *b)
{
    return slice_equal(a->agent, b->agent) && slice_equal(a->boot, b->boot) &&
           a->protocol == b->protocol && a->tls == b->tls;
}

/* Nothing was sent yet: the call goes on to where the computer is now. */
static void follow_computer(struct call *call, const struct record *record)
{
    struct record *old = call->computer;

    call->computer = record_ref((struct record *)record);
    record_unref(&old);
    call_reconnect(call);
}

/* It boots, or runs: that is what the call waits for. */
static void follow_waking(struct call *call, enum status status, const struct record *record)
{
    struct record *old = call->computer;

    call->computer = record_ref((struct record *)record);
    record_unref(&old);
    if (status == STATUS_OK && call->state == CALL_WAKING)
        call_woken(call);
    else
        call->needs_wake = status != STATUS_OK;
}

void call_on_computer_change(struct record_watch *watch, enum status status,
                             const struct record *record)
{
    struct call *call = CONTAINER_OF(watch, struct call, computer_watch);
    bool is_open = call->relay.upstream != NULL;

    call_enter(call);
    status = judge_computer(status, record);
    if (call->needs_wake && (status == STATUS_OK || status == STATUS_COMPUTER_NOT_RUNNING)) {
        follow_waking(call, status, record);
    } else if (status != STATUS_OK) {
        call_fail(call, is_open ? STATUS_COMPUTER_NOT_RUNNING : status);
        upstream_pool_forget(call->proxy->upstreams, call->computer->id);
    } else if (!is_open) {
        follow_computer(call, record);
    } else if (!is_same_place(&record->computer, &call->computer->computer)) {
        call->words = "the computer has booted anew or moved";
        call_fail(call, STATUS_AGENT_LOST);
    }
    call_leave(call);
}

/* ---- time ---- */

static bool is_due(uint64_t due_ms, uint64_t now)
{
    return due_ms != 0 && due_ms <= now;
}

static void state_due(struct call *call)
{
    enum status late = call_states[call->state].late;

    if (call->state == CALL_RETRYING) {
        call_retry_now(call);
    } else if (has_its_end(call)) {
        client_gone(call, late);
    } else if (call->state == CALL_RELAYING) {
        port_call_late(call);
    } else {
        call_fail(call, late);
    }
}

void call_on_timer(struct timer *timer)
{
    struct call *call = CONTAINER_OF(timer, struct call, timer);
    uint64_t now = call_now_ms(call);

    call_enter(call);
    if (is_due(call->expiry_due_ms, now)) {
        call->expiry_due_ms = 0;
        call_cut(call, STATUS_TOKEN_EXPIRED);
    } else if (is_due(call->cut_due_ms, now)) {
        call_fail(call, call->cut);
    } else if (is_due(call->timeout_due_ms, now)) {
        call->timeout_due_ms = 0;
        call_cut(call, STATUS_DEADLINE_EXCEEDED);
    } else if (is_due(call->wait_due_ms, now)) {
        call->wait_due_ms = 0;
        plain_call_waited(call);
    } else if (is_due(call->state_due_ms, now)) {
        if (call->state == CALL_WAKING)
            counter_add(&call->proxy->counters.wakes_timed_out, 1);
        state_due(call);
    }
    call_leave(call);
}
