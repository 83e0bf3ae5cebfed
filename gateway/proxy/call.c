/* proxy/call.c — the life of a call; see call.h. The steps stand in the order of the states.
 * call_events.c holds what the exchanges, lookups, watches and timers tell; both only ever act
 * through the functions here. */
#include "proxy/call.h"

#include "base/mem.h"
#include "proxy/call_events.h"
#include "proxy/call_expiry.h"
#include "proxy/call_log.h"
#include "proxy/forward_headers.h"
#include "proxy/plain_call.h"
#include "proxy/port_call.h"
#include "proxy/wake.h"

enum {
    TIMEOUT_GRACE_MS = 1000, /* the agent enforces its deadline itself; we only see to it */
    CUT_MS = 500,
    RETRY_MIN_MS = 25,
    RETRY_SPREAD_MS = 225,
    REQUEST_FIELDS = 48, /* more of them take memory of the call */
};

enum step { STEP_WAIT, STEP_AGAIN };

uint64_t call_now_ms(const struct call *call)
{
    return loop_clock(call->proxy->loop)->now_ms;
}

static uint32_t since_start_us(const struct call *call)
{
    uint64_t us = loop_clock(call->proxy->loop)->now_us - call->times.began_us + 1;

    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* The one place where the state changes. */
static void call_move(struct call *call, enum call_state to)
{
    ENSURE((call_states[call->state].next & (1u << to)) != 0);
    uint64_t limit = call_states[to].limit_ms;

    call->state = to;
    call->state_due_ms = limit > 0 ? call_now_ms(call) + limit : 0;
}

struct slice call_computer_id(const struct call *call)
{
    if (call->port != NULL)
        return call->port->record->host.computer_id;
    ENSURE(call->principal != NULL);
    return call->principal->computer_id;
}

/* ---- what a call holds, and letting it go ---- */

static void drop_upstream(struct call *call)
{
    struct exchange *upstream = call->relay.upstream;

    upstream_wait_cancel(&call->wait);
    wake_leave(&call->proxy->wake, &call->waking);
    if (upstream == NULL)
        return;
    relay_detach(&call->relay);
    if (!upstream->in_ended || !upstream->out_ended)
        exchange_reset(upstream, RESET_CANCEL);
    exchange_release(&upstream);
    arena_deinit(&call->heads);
}

/* Nothing about the computer or the session matters to this call any more. */
static void stop_looking(struct call *call)
{
    route_lookup_cancel(&call->session_lookup);
    route_lookup_cancel(&call->computer_lookup);
    record_watch_stop(&call->session_watch);
    record_watch_stop(&call->computer_watch);
    if (call->port != NULL) {
        route_lookup_cancel(&call->port->lookup);
        record_watch_stop(&call->port->watch);
    }
}

static void let_go(struct call *call)
{
    stop_looking(call);
    drop_upstream(call);
    call->timeout_due_ms = call->expiry_due_ms = call->cut_due_ms = call->wait_due_ms = 0;
}

static void call_free(struct call *call)
{
    struct proxy *proxy = call->proxy;
    struct exchange *client = call_client(call);

    let_go(call);
    timer_cancel(&call->timer);
    call_log_line(call);
    call_metrics_ended(call);
    counter_add(&proxy->counters.ended[call->outcome], 1);
    counter_add(&proxy->counters.bytes_in, call->relay.request_bytes);
    counter_add(&proxy->counters.bytes_out, call->client_bytes);
    counter_subtract(&proxy->counters.calls_open, 1);
    in_flight_leave(&proxy->by_session, &call->in_session);
    in_flight_leave(&proxy->by_computer, &call->in_computer);
    if (call->plain != NULL)
        plain_call_deinit(call);
    port_call_free(call);
    relay_deinit(&call->relay);
    record_unref(&call->computer);
    principal_unref(&call->principal);
    proxy_config_unref(&call->config);
    list_unlink(&call->link);
    proxy->call_count--;
    arena_deinit(&call->heads);
    mem_give(call, sizeof(*call));
    exchange_release(&client);
}

static bool client_has_all(const struct exchange *client)
{
    return client->is_dead || (client->out_ended && client->out.len == 0);
}

static uint64_t earliest_due_ms(const struct call *call)
{
    const uint64_t dues[] = { call->state_due_ms, call->timeout_due_ms, call->expiry_due_ms,
                              call->cut_due_ms, call->wait_due_ms };
    uint64_t earliest = 0;

    for (size_t i = 0; i < sizeof(dues) / sizeof(dues[0]); i++)
        if (dues[i] != 0 && (earliest == 0 || dues[i] < earliest))
            earliest = dues[i];
    return earliest;
}

static void arm_timer(struct call *call)
{
    uint64_t due = earliest_due_ms(call), now = call_now_ms(call);

    if (due == 0)
        timer_cancel(&call->timer);
    else if (!timer_is_armed(&call->timer) || call->timer.due_ms > due) /* too early does no harm:
                                        it looks, and is armed anew */
        timer_arm(&call->timer, due > now ? due - now : 0);
}

void call_enter(struct call *call)
{
    call->entered++;
}

void call_leave(struct call *call)
{
    ENSURE(call->entered > 0);
    if (--call->entered > 0)
        return;
    if ((call->state == CALL_REPLYING || call->state == CALL_FINISHING) &&
        client_has_all(call_client(call)))
        call_move(call, CALL_CLOSED);
    if (call->state == CALL_CLOSED)
        call_free(call);
    else
        arm_timer(call);
}

/* ---- ends ---- */

static bool has_its_end(const struct call *call)
{
    return call->state >= CALL_FINISHING;
}

/* On /health a computer that cannot be reached is 502: the SDKs read that, and only that, as "it is
 * dead". */
static unsigned health_http(const struct call *call, enum status status)
{
    switch (status) {
    case STATUS_COMPUTER_UNKNOWN:
    case STATUS_COMPUTER_NOT_RUNNING:
    case STATUS_AGENT_UNREACHABLE:
    case STATUS_AGENT_TIMED_OUT:
    case STATUS_AGENT_LOST:
    case STATUS_AGENT_RESET:
    case STATUS_AGENT_PROTOCOL:
        return call->is_health ? 502 : 0;
    default:
        return 0;
    }
}

struct reply call_reply(const struct call *call, enum status status)
{
    const struct exchange *client = call_client(call);
    bool is_post = call->exec.target == EXEC_TARGET_METHOD;

    struct reply reply = {
        .status = status,
        .caller = call->exec.caller,
        .words = call->words,
        .http = health_http(call, status),
        .request_id = call->request_id,
        .content_type = call->exec.content_type,
        .cors_origin = cors_allowed_origin(&call->config->cors, &client->request.fields),
        .allow = status != STATUS_METHOD_NOT_ALLOWED ? SLICE_EMPTY
                 : is_post                           ? SLICE("POST, OPTIONS")
                                                     : SLICE("GET, HEAD, OPTIONS"),
        .maybe_delivered = call->maybe_delivered,
        .is_head_request = call->is_head_request,
    };
    if (call->port != NULL)
        port_call_shape_reply(call, &reply);
    return reply;
}

void call_close_client(struct call *call, enum exchange_reset reason)
{
    exchange_reset(call_client(call), reason);
    call_move(call, CALL_CLOSED);
}

void call_finish(struct call *call, enum status outcome, enum call_ender ended_by)
{
    call->outcome = outcome;
    call->ended_by = ended_by;
    let_go(call);
    call_move(call, CALL_FINISHING);
}

/* The head has gone. The agent's own way to end a stream is passed on where it says something true.
 */
static enum exchange_reset reset_toward_client(const struct call *call)
{
    return call->upstream_reset == (int)RESET_CANCEL || call->upstream_reset == (int)RESET_CALM
               ? (enum exchange_reset)call->upstream_reset
               : RESET_INTERNAL;
}

static void fail_in_the_middle(struct call *call, const struct reply *reply)
{
    struct exchange *client = call_client(call);
    bool at_edge = call->relay.tracks_edge && stream_edge_is_at(&call->relay.edge);
    bool is_opaque = call->port != NULL && !call->port->is_grpc_answer;

    if (is_opaque && !client->is_dead && !client->out_ended) {
        if (port_call_close_websocket(call, reply))
            call_move(call, CALL_FINISHING);
        else
            call_close_client(call, reset_toward_client(call));
    } else if (client->is_dead || client->out_ended || reply_end_stream(client, reply, at_edge)) {
        call_move(call, CALL_FINISHING);
    } else {
        call_close_client(call, reset_toward_client(call));
    }
}

void call_fail(struct call *call, enum status status)
{
    if (has_its_end(call))
        return;
    struct reply reply = call_reply(call, status);

    call->outcome = status;
    let_go(call);
    if (call->plain != NULL && plain_call_fail(call, &reply))
        return;
    if (call_client(call)->head_sent) {
        fail_in_the_middle(call, &reply);
        return;
    }
    call->client_status = reply_http(&reply);
    if (call->port != NULL && port_call_send_login(call, &reply))
        call->client_status = 302;
    else
        reply_send(call_client(call), &reply);
    if (call->port == NULL)
        call_log_keep(call); /* the client may be long in taking the reply */
    call_move(call, CALL_REPLYING);
}

void call_pass_error(struct call *call)
{
    struct reply reply = call_reply(call, STATUS_OK);

    reply.is_agents = true;
    call->outcome = STATUS_OK;
    call->ended_by = ENDED_BY_AGENT;
    let_go(call);
    if (!plain_call_fail(call, &reply)) /* the client is gone already */
        call_move(call, CALL_FINISHING);
}

void call_replied(struct call *call)
{
    call_move(call, CALL_REPLYING);
}

void call_cut(struct call *call, enum status status)
{
    bool can_wait = call->plain == NULL && call_client(call)->head_sent &&
                    call->relay.tracks_edge && !stream_edge_is_at(&call->relay.edge);

    if (has_its_end(call) || call->cut != STATUS_OK)
        return;
    if (!can_wait) {
        call_fail(call, status);
        return;
    }
    call->cut = status;
    call->cut_due_ms = call_now_ms(call) + CUT_MS;
}

void call_begin_answer(struct call *call, unsigned http, struct head *out)
{
    struct reply reply = call_reply(call, STATUS_OK);

    reply_begin_head(call_client(call), &reply, http, out);
}

void call_answer(struct call *call, struct head *head, struct slice content_type, struct slice body)
{
    call->outcome = STATUS_OK;
    call->client_status = head->status;
    let_go(call);
    reply_send_body(call_client(call), head, content_type, body, call->is_head_request);
    call_move(call, CALL_REPLYING);
}

/* ---- authorizing ---- */

static enum status enter_limits(struct call *call)
{
    const struct proxy_options *options = &call->config->options;
    struct proxy *proxy = call->proxy;

    if (call->principal != NULL)
        call->in_session = in_flight_enter(&proxy->by_session, call->principal->session_id,
                                           options->requests_per_session);
    if (call->principal != NULL && call->in_session == NULL) {
        call->words = "too many requests of this session are in flight";
        return STATUS_LIMIT_REACHED;
    }
    call->in_computer = in_flight_enter(&proxy->by_computer, call_computer_id(call),
                                        options->requests_per_computer);
    if (call->in_computer == NULL) {
        call->words = "too many requests to this computer are in flight";
        return STATUS_LIMIT_REACHED;
    }
    return STATUS_OK;
}

/* ---- finding ---- */

static enum step find(struct call *call)
{
    if (port_call_is_finding(call))
        port_call_find(call);
    if (has_its_end(call) || port_call_is_finding(call))
        return STEP_WAIT;
    call_move(call, CALL_AUTHORIZING);
    return STEP_AGAIN;
}

static enum step authorize(struct call *call)
{
    bool is_refused = call->port != NULL && call->proxy->is_overloaded;
    enum status status = is_refused ? STATUS_OVERLOADED : call->kind->authorize(call);

    if (status == STATUS_AGAIN)
        return STEP_WAIT;
    if (status == STATUS_OK) {
        call_client(call)->link->is_trusted |= call->principal != NULL;
        status = enter_limits(call);
    }
    if (status == STATUS_OK && call->exec.caller == CALLER_PLAIN_JSON) {
        call->plain = plain_call_create(call);
        status = plain_call_check(call);
    }
    if (status != STATUS_OK) {
        call_fail(call, status);
        return STEP_WAIT;
    }
    call_expiry_note(call);
    if (call->exec.timeout_ms > 0)
        call->timeout_due_ms = call_now_ms(call) + call->exec.timeout_ms + TIMEOUT_GRACE_MS;
    call_move(call, CALL_RESOLVING);
    return STEP_AGAIN;
}

/* ---- resolving ---- */

/* Who is asking may, and where to is known: the request goes on. */
static enum step resolved(struct call *call)
{
    if (call->exec.expects_continue && !call_client(call)->in_ended &&
        call->relay.request_bytes == 0) {
        static const struct head go_on = { .status = 100 };
        exchange_send_interim(call_client(call), &go_on);
    }
    call_move(call, call->plain != NULL ? CALL_COLLECTING : CALL_CONNECTING);
    return STEP_AGAIN;
}

/* ---- waking ---- */

/* A person at a browser reads a page that comes again by itself; all others wait here. */
static enum step wake(struct call *call)
{
    const struct wake_options *options = &call->config->options.wake;
    bool stays = call->port == NULL || !call->port->request.is_navigation;

    call->waking = wake_enter(&call->proxy->wake, call->computer->id, options);
    if (call->waking == NULL || !stays) {
        call_fail(call, STATUS_COMPUTER_NOT_RUNNING);
        return STEP_WAIT;
    }
    call_move(call, CALL_WAKING);
    call->state_due_ms = call_now_ms(call) + options->timeout_ms;
    return STEP_WAIT;
}

static enum step resolve(struct call *call)
{
    if (!call->session_known && call->session_lookup == NULL)
        call_find_session(call);
    if (call->port != NULL && call->port->redeemed != NULL) {
        if (!has_its_end(call) && call->session_known)
            port_call_redeem(call);
        return STEP_WAIT;
    }
    if (!has_its_end(call) && !call->computer_known && call->computer_lookup == NULL)
        call_find_computer(call);
    if (has_its_end(call) || !call->session_known || !call->computer_known)
        return STEP_WAIT;
    call->times.resolved_us = since_start_us(call);
    if (call->needs_wake)
        return wake(call);
    return resolved(call);
}

void call_woken(struct call *call)
{
    call->needs_wake = false;
    wake_done(&call->proxy->wake, call->waking);
    wake_leave(&call->proxy->wake, &call->waking);
    if (resolved(call) == STEP_AGAIN)
        call_run(call);
}

/* ---- collecting ---- */

static enum step collect(struct call *call)
{
    if (!plain_call_is_collected(call))
        return STEP_WAIT;
    enum status status = plain_call_frame(call);
    if (status != STATUS_OK) {
        call_fail(call, status);
        return STEP_WAIT;
    }
    call_move(call, CALL_CONNECTING);
    return STEP_AGAIN;
}

/* ---- connecting ---- */

static enum status make_target(struct call *call, struct upstream_target *out)
{
    const struct computer *computer = &call->computer->computer;
    const struct proxy_options *options = &call->config->options;

    *out = (struct upstream_target){
        .computer_id = call->computer->id,
        .agent = computer->agent,
        .boot = computer->boot,
        .protocol = computer->protocol == AGENT_HTTP1 ? UPSTREAM_H1 : UPSTREAM_H2,
        .tls = computer->tls == AGENT_TLS_ON       ? options->agent_tls
               : computer->tls == AGENT_TLS_MUTUAL ? options->agent_mutual_tls
                                                   : NULL,
    };
    if (computer->tls != AGENT_TLS_OFF && out->tls == NULL)
        return STATUS_ROUTE_REFUSED;
    return call->port != NULL ? port_call_target(call, out) : STATUS_OK;
}

static void open_upstream(struct call *call, struct http_client *client)
{
    struct field items[REQUEST_FIELDS];
    struct head head = { .fields = { .items = items, .capacity = REQUEST_FIELDS } };
    bool is_whole = (relay_request_is_empty(&call->relay) && call->relay.held.len == 0) ||
                    (call->port != NULL && call->port->request.is_preflight);

    call->times.connected_us = since_start_us(call);
    if (call->port != NULL)
        call->port->was_reused = client->opened_count > 0;
    call->kind->make_request(call, &head);
    call->maybe_delivered = true;
    call_move(call, CALL_RELAYING);
    relay_attach(&call->relay,
                 http_client_open(client, &head, is_whole, &call_upstream_events, call), is_whole);
    if (call->port != NULL)
        port_call_note_progress(call);
}

/* A failure that the agent did not see may be tried once more, while retries are few among the
 * calls. */
bool call_try_again(struct call *call)
{
    struct proxy *proxy = call->proxy;
    /* An app that closes kept-alive connections early is not one that has too much to do. */
    bool is_free = call->port != NULL && call->port->was_reused;
    unsigned cost = is_free ? 0 : RETRY_COST;

    if (call->retries > 0 || call->has_upstream_head || !relay_can_replay(&call->relay) ||
        proxy->retry_credit < cost)
        return false;
    proxy->retry_credit -= cost;
    counter_add(&proxy->counters.retries, 1);
    call->retries++;
    call->maybe_delivered = false;
    drop_upstream(call);
    call_move(call, CALL_RETRYING);
    call->state_due_ms = call_now_ms(call) + 1;
    if (!is_free)
        call->state_due_ms += RETRY_MIN_MS + proxy_random(proxy) % (RETRY_SPREAD_MS + 1);
    return true;
}

void call_refused(struct call *call, enum status status)
{
    if (has_its_end(call) || call_try_again(call))
        return;
    call->maybe_delivered = false;
    call_fail(call, status);
}

static void on_upstream_ready(void *arg, enum status status, struct http_client *client)
{
    struct call *call = arg;

    call_enter(call);
    call->wait = NULL;
    if (status == STATUS_OK)
        open_upstream(call, client);
    else if (status == STATUS_AGENT_UNREACHABLE || status == STATUS_AGENT_TIMED_OUT)
        call_refused(call, status);
    else
        call_fail(call, status);
    call_leave(call);
}

static enum step connect_agent(struct call *call)
{
    struct upstream_target target;

    if (call->wait != NULL)
        return STEP_WAIT;
    enum status status = make_target(call, &target);
    if (status != STATUS_OK) {
        call_fail(call, status);
        return STEP_WAIT;
    }
    struct http_client *client = upstream_pool_take(call->proxy->upstreams, &target);
    if (client != NULL)
        open_upstream(call, client);
    else
        call->wait = upstream_wait_start(call->proxy->upstreams, &target, on_upstream_ready, call);
    return STEP_WAIT;
}

/* ---- all together ---- */

static enum step rest(struct call *call)
{
    (void)call;
    return STEP_WAIT;
}

static enum step (*const steps[CALL_STATE_COUNT])(struct call *) = {
    [CALL_FINDING] = find,       [CALL_AUTHORIZING] = authorize,    [CALL_RESOLVING] = resolve,
    [CALL_WAKING] = rest,

    [CALL_COLLECTING] = collect, [CALL_CONNECTING] = connect_agent, [CALL_RETRYING] = rest,
    [CALL_RELAYING] = rest,      [CALL_FINISHING] = rest,           [CALL_REPLYING] = rest,
    [CALL_CLOSED] = rest,
};

void call_run(struct call *call)
{
    while (steps[call->state](call) == STEP_AGAIN)
        ;
}

void call_reconnect(struct call *call)
{
    upstream_wait_cancel(&call->wait);
    if (call->state == CALL_CONNECTING)
        call_run(call);
}

void call_retry_now(struct call *call)
{
    call_move(call, CALL_CONNECTING);
    call_run(call);
}

static void note_identity(struct call *call)
{
    const struct fields *fields = &call_client(call)->request.fields;
    struct arena ids;
    const uint64_t random[5] = { proxy_random(call->proxy), proxy_random(call->proxy),
                                 proxy_random(call->proxy), proxy_random(call->proxy),
                                 proxy_random(call->proxy) };

    arena_init(&ids, call->ids, sizeof(call->ids));
    call->request_id = forward_request_id(fields, call->memo->peer_is_trusted, random, &ids);
    call->traceparent = forward_traceparent(fields, random + 2, &ids);
}

void call_start(struct proxy *proxy, const struct call_kind *kind, struct exchange *client)
{
    const struct proxy_options *options = &proxy->config->options;
    struct call *call = mem_take(sizeof(*call));

    memset(call, 0, sizeof(*call));
    call->proxy = proxy;
    call->kind = kind;
    call->config = proxy->config;
    call->config->ref_count++;
    call->upstream_reset = -1;
    call->times.began_us = loop_clock(proxy->loop)->now_us;
    call->memo = conn_memo_of(client->link, options->trusted_proxies, options->trusted_proxy_count);
    call->is_head_request = slice_equal(client->request.method, SLICE("HEAD"));
    relay_init(&call->relay, client);
    timer_init(&call->timer, proxy->loop, call_on_timer);
    record_watch_init(&call->session_watch, call_on_session_change);
    record_watch_init(&call->computer_watch, call_on_computer_change);
    list_append(&proxy->calls, &call->link);
    proxy->call_count++;
    counter_add(&proxy->counters.calls_open, 1);
    call_metrics_started(call);
    if (proxy->retry_credit < RETRY_CREDIT_MAX)
        proxy->retry_credit += RETRY_CREDIT_PER_CALL;
    exchange_set_owner(client, &call_client_events, call);
    note_identity(call);
    if (kind == &call_kind_port)
        port_call_create(call);
    call_enter(call);
    call_run(call);
    call_leave(call);
}
