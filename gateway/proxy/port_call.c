/* proxy/port_call.c — see port_call.h: finding the host, who may open it, where it goes. What passes
 * to and from the app is in port_pass.c. */
#include "proxy/port_call.h"

#include <stdio.h>

#include "base/mem.h"
#include "proxy/call_events.h"
#include "proxy/forward_headers.h"
#include "proxy/port_host.h"
#include "proxy/port_page.h"
#include "proxy/port_pass.h"

static struct host_names names_of(const struct call *call)
{
    return proxy_host_names(&call->config->options);
}

/* ---- life ---- */

static void on_host_change(struct record_watch *watch, enum status status,
                           const struct record *record);

void port_call_create(struct call *call)
{
    struct exchange *client = call_client(call);
    struct port_call *port = mem_zeroed(sizeof(*port));
    struct slice scheme = client->request.scheme;

    call->port = port;
    call->port = port;
    port->call = call;
    record_watch_init(&port->watch, on_host_change);
    ENSURE(authority_normalize(client->request.authority, scheme.len > 0 ? scheme : SLICE("http"),
                               &client->arena, &port->authority) == STATUS_OK);
    port->host = authority_host(port->authority);
    port->parsed = port_request_parse(&client->request, &port->request);
    call->exec.caller = port->request.caller;
    call->exec.content_type = port->request.content_type;
}

void port_call_free(struct call *call)
{
    struct port_call *port = call->port;

    if (port == NULL)
        return;
    route_lookup_cancel(&port->lookup);
    record_watch_stop(&port->watch);
    record_unref(&port->record);
    mem_free(port);
    call->port = NULL;
}

/* ---- finding ---- */

static void become_exec(struct call *call)
{
    call_metrics_left(call);
    port_call_free(call);
    call->exec = (struct exec_request){ 0 };
    call->kind = &call_kind_exec;
    call_metrics_started(call);
}

static void host_settled(struct call *call, enum status status, struct record *record)
{
    struct port_call *port = call->port;
    struct host_names names = names_of(call);

    if (status == STATUS_OK) {
        port->record = record;
        record_watch_start(call->proxy->routes, &port->watch, RECORD_HOST, port->host);
    } else if (status == STATUS_HOST_UNKNOWN && host_falls_to_exec(&names, port->host)) {
        become_exec(call);
    } else {
        call_fail(call, status);
    }
}

static void on_host_found(void *arg, enum status status, struct record *record)
{
    struct call *call = arg;

    call_enter(call);
    call->port->lookup = NULL;
    host_settled(call, status, record);
    call_run(call);
    call_leave(call);
}

void port_call_find(struct call *call)
{
    struct port_call *port = call->port;
    struct record *record = NULL;

    if (port->lookup != NULL)
        return;
    enum status status = route_resolver_find(call->proxy->routes, RECORD_HOST, port->host, &record);
    if (status != STATUS_AGAIN)
        host_settled(call, status, status == STATUS_OK ? record : NULL);
    else
        port->lookup =
            route_lookup_start(call->proxy->routes, RECORD_HOST, port->host, on_host_found, call);
}

/* ---- who may ---- */

static unsigned kind_bit(enum principal_kind kind)
{
    return kind == PRINCIPAL_BROWSER ? (unsigned)PORT_KIND_BROWSER
           : kind == PRINCIPAL_VNC   ? (unsigned)PORT_KIND_VNC
                                     : 0u;
}

static enum status check_principal(const struct call *call, const struct principal *principal)
{
    const struct host *host = &call->port->record->host;
    struct host_names names = names_of(call);
    char number[8];
    int len = snprintf(number, sizeof(number), "%u", host->port);

    if (!slice_equal(principal->computer_id, host->computer_id))
        return STATUS_TOKEN_COMPUTER;
    if ((host->kinds & kind_bit(principal->kind)) == 0)
        return STATUS_TOKEN_KIND;
    if (principal->port.len > 0 && !slice_equal(principal->port, slice_of(number, (size_t)len)) &&
        !slice_equal(principal->port, host_label(&names, call->port->host)))
        return STATUS_TOKEN_PORT;
    return STATUS_OK;
}

/* The signature was good: whatever else is wrong with it, the app must not see it. */
static bool is_signed_by_us(enum status status)
{
    switch (status) {
    case STATUS_OK:
    case STATUS_TOKEN_EXPIRED:
    case STATUS_TOKEN_NOT_YET_VALID:
    case STATUS_TOKEN_ISSUER:
    case STATUS_TOKEN_AUDIENCE:
    case STATUS_TOKEN_KIND:
    case STATUS_TOKEN_CAPABILITY:
        return true;
    default:
        return false;
    }
}

/* An app's own tokens in its own places cost no signature check and are nobody's error. */
static bool looks_like_ours(const struct port_token *token)
{
    struct slice rest = token->text;
    unsigned dots = 0;

    if (token->place != PLACE_QUERY && token->place != PLACE_AUTHORIZATION)
        return true;
    for (size_t i = 0; i < rest.len; i++)
        dots += rest.ptr[i] == '.';
    return dots == 2 && slice_starts_with(rest, SLICE("eyJ"));
}

/* Of several refusals the one is told that says most about what the client has. */
static unsigned gravity(enum status status)
{
    if (status == STATUS_TOKEN_MISSING)
        return 0;
    if (status == STATUS_OVERLOADED)
        return 4;
    if (status == STATUS_TOKEN_EXPIRED)
        return 2;
    return status_http(status) == 403 ? 3 : 1;
}

struct choice {
    const struct port_token *token; /* NULL: none is good */
    bool is_explicit;               /* some place other than the cookie holds a good one */
    enum status refusal;
};

static bool is_opening_link(const struct call *call, const struct port_token *token)
{
    return token->place == PLACE_QUERY && call->port->request.is_navigation &&
           slice_equal(call_client(call)->request.method, SLICE("GET"));
}

static void judge_token(struct call *call, struct port_token *token, struct choice *choice)
{
    struct principal *principal = NULL;
    enum status status =
        conn_memo_verify(call->memo, call->proxy->tokens, loop_clock(call->proxy->loop),
                         token->text, TOKEN_USE_ACCESS, &principal);

    token->is_ours = is_signed_by_us(status);
    if (status == STATUS_OK)
        status = check_principal(call, principal);
    if (status == STATUS_OK && (choice->token == NULL || is_opening_link(call, token))) {
        principal_unref(&call->principal);
        call->principal = principal_ref(principal);
        choice->token = token;
    }
    choice->is_explicit |= status == STATUS_OK && token->place != PLACE_COOKIE;
    principal_unref(&principal);
    if (token->place == PLACE_AUTHORIZATION && !token->is_ours && status != STATUS_OVERLOADED)
        return; /* the app's */
    if (status != STATUS_OK && gravity(status) > gravity(choice->refusal))
        choice->refusal = status;
}

/* All are looked at, so that each is known for what it is; the first good one counts. A link that a
 * person opens counts before the cookie, which may be of a session that is over. */
static struct choice judge_tokens(struct call *call)
{
    struct port_request *request = &call->port->request;
    struct choice choice = { .refusal = STATUS_TOKEN_MISSING };

    for (size_t i = 0; i < request->token_count; i++)
        if (looks_like_ours(&request->tokens[i]))
            judge_token(call, &request->tokens[i], &choice);
    return choice;
}

static bool client_is_on_tls(const struct call *call)
{
    return slice_equal(port_pass_scheme(call), SLICE("https"));
}

static enum status authorize_private(struct call *call, const struct choice *choice)
{
    struct exchange *client = call_client(call);
    const struct port_request *request = &call->port->request;

    if (request->is_preflight) {
        principal_unref(&call->principal);
        return STATUS_OK;
    }
    if (choice->token == NULL)
        return choice->refusal;
    if (is_opening_link(call, choice->token))
        call->port->redeemed = choice->token;
    if (choice->is_explicit || (!request->changes_things && !request->is_websocket))
        return STATUS_OK;
    return port_origin_is_own(&client->request, call->port->authority, client_is_on_tls(call),
                              &client->arena)
               ? STATUS_OK
               : STATUS_ORIGIN_FOREIGN;
}

static const struct port_token *link_token(const struct call *call)
{
    const struct port_request *request = &call->port->request;

    for (size_t i = 0; i < request->token_count; i++)
        if (request->tokens[i].is_ours && is_opening_link(call, &request->tokens[i]))
            return &request->tokens[i];
    return NULL;
}

static enum status port_authorize(struct call *call)
{
    counter_add(&call->proxy->counters.calls_other, 1);
    if (call->port->parsed != STATUS_OK)
        return call->port->parsed;
    struct choice choice = judge_tokens(call);

    if (choice.refusal == STATUS_OVERLOADED) /* whose token it is is not known: it stays here */
        return STATUS_OVERLOADED;
    if (call->port->record->host.visibility == PORT_SESSION)
        return authorize_private(call, &choice);
    principal_unref(&call->principal);
    if (link_token(call) == NULL)
        return STATUS_OK;
    port_call_redeem(call); /* nobody needs it here, but it must leave the address bar */
    return STATUS_AGAIN;
}

/* ---- the link becomes a cookie ---- */

static struct slice cookie_of(const struct call *call, struct arena *arena)
{
    const struct clock *clock = loop_clock(call->proxy->loop);
    int64_t left_s = (call->principal->expires_wall_ms - clock->wall_ms) / 1000;
    bool is_secure = client_is_on_tls(call) || !call->config->options.ports.insecure_cookies;

    return arena_printf(arena, PORT_COOKIE "=%.*s; Path=/; %sHttpOnly; SameSite=Lax; Max-Age=%lld",
                        SLICE_ARGS(call->port->redeemed->text), is_secure ? "Secure; " : "",
                        (long long)(left_s > 0 ? left_s : 1));
}

void port_call_redeem(struct call *call)
{
    struct exchange *client = call_client(call);
    struct arena *arena = &client->arena;
    struct slice target =
        port_request_target(&call->port->request, client->request.target, false, arena);
    struct head head;

    call_begin_answer(call, 303, &head);
    fields_add(&head.fields, arena, FIELD_LOCATION, port_local_location(target, arena));
    if (call->principal != NULL && call->port->redeemed != NULL)
        fields_add(&head.fields, arena, FIELD_SET_COOKIE, cookie_of(call, arena));
    call_answer(call, &head, SLICE_EMPTY, SLICE_EMPTY);
}

/* ---- refusals ---- */

void port_call_shape_reply(const struct call *call, struct reply *reply)
{
    static const char *const all[] = { "*" };
    static const struct cors_policy policy = { all, 1 };
    const struct port_call *port = call->port;

    reply->is_port = true;
    reply->comes_again = call->needs_wake && reply->status == STATUS_COMPUTER_NOT_RUNNING;
    reply->host = port->host;
    reply->port = port->record != NULL ? port->record->host.port : 0;
    reply->cors_origin = cors_allowed_origin(&policy, &call_client(call)->request.fields);
    if (reply->status == STATUS_AGENT_LOST) /* more likely the app than the computer */
        reply->http = 502;
}

bool port_call_send_login(struct call *call, const struct reply *reply)
{
    const char *login = call->config->options.ports.login_url;
    struct exchange *client = call_client(call);
    struct arena *arena = &client->arena;
    struct head head;

    if (login == NULL || reply->caller != CALLER_PAGE || reply->status == STATUS_ORIGIN_FOREIGN ||
        (status_http(reply->status) != 401 && status_http(reply->status) != 403))
        return false;
    struct slice target =
        port_request_target(&call->port->request, client->request.target, true, arena);
    struct slice back =
        port_query_encode(arena_printf(arena, "%.*s://%.*s%.*s", SLICE_ARGS(port_pass_scheme(call)),
                                       SLICE_ARGS(call->port->authority), SLICE_ARGS(target)),
                          arena);
    reply_begin_head(client, reply, 302, &head);
    reply_add_error_fields(client, reply, &head);
    fields_add(&head.fields, arena, FIELD_LOCATION,
               arena_printf(arena, "%s%cerror=%s&return_to=%.*s", login,
                            strchr(login, '?') != NULL ? '&' : '?', port_error_word(reply->status),
                            SLICE_ARGS(back)));
    reply_send_body(client, &head, SLICE_EMPTY, SLICE_EMPTY, reply->is_head_request);
    return true;
}

/* ---- where it goes ---- */

static enum upstream_protocol protocol_of(const struct port_call *port)
{
    if (port->request.is_websocket) /* toward an app always the handshake of HTTP/1.1 */
        return UPSTREAM_H1;
    switch (port->record->host.protocol) {
    case PORT_H2C:
        return UPSTREAM_H2;
    case PORT_AUTO:
        return port->request.caller == CALLER_GRPC ? UPSTREAM_H2 : UPSTREAM_H1;
    default:
        return UPSTREAM_H1;
    }
}

enum status port_call_target(struct call *call, struct upstream_target *out)
{
    const struct host *host = &call->port->record->host;
    bool is_direct = host->via == PORT_VIA_DIRECT;

    out->port = host->port;
    out->via = is_direct ? UPSTREAM_VIA_DIRECT : UPSTREAM_VIA_AGENT;
    out->protocol = protocol_of(call->port);
    if (is_direct || call->computer->computer.protocol != AGENT_HTTP1)
        return STATUS_OK;
    call->words = "the computer's agent speaks only HTTP/1.1, so it has no tunnels to ports: "
                  "publish with via: direct";
    return STATUS_ROUTE_REFUSED;
}

/* ---- the record changes ---- */

static bool is_same_app(const struct host *a, const struct host *b)
{
    return slice_equal(a->computer_id, b->computer_id) && a->port == b->port && a->via == b->via;
}

static enum status judge_host(struct call *call, enum status status, const struct record *record)
{
    if (status != STATUS_OK)
        return status;
    if (!is_same_app(&record->host, &call->port->record->host)) {
        call->words = "the name is published for another port now";
        return STATUS_AGENT_LOST;
    }
    if (record->host.visibility == PORT_PUBLIC || call->port->request.is_preflight)
        return STATUS_OK;
    if (call->principal == NULL)
        return STATUS_TOKEN_MISSING;
    return (record->host.kinds & kind_bit(call->principal->kind)) != 0 ? STATUS_OK
                                                                       : STATUS_TOKEN_KIND;
}

/* Unpublished, private from now on, or somewhere else: what is open ends. */
static void on_host_change(struct record_watch *watch, enum status status,
                           const struct record *record)
{
    struct port_call *port = CONTAINER_OF(watch, struct port_call, watch);
    struct call *call = port->call;

    call_enter(call);
    status = judge_host(call, status, record);
    if (status != STATUS_OK) {
        call_fail(call, status);
    } else if (call->relay.upstream == NULL) {
        struct record *old = port->record;
        port->record = record_ref((struct record *)record);
        record_unref(&old);
    }
    call_leave(call);
}

const struct call_kind call_kind_port = {
    .name = "port",
    .authorize = port_authorize,
    .make_request = port_pass_request,
};
