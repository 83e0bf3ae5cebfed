/* agent/guest_agent.c — see guest_agent.h. */
#include "agent/guest_agent.h"

#include "agent/plain_reply.h"
#include "agent/rpc.h"
#include "base/mem.h"
#include "http/server.h"
#include "net/listener.h"

enum { HANDSHAKE_TIMEOUT_MS = 10000, MAX_CONNS = 4096 };

struct guest_agent {
    struct loop *loop;
    struct http_limits limits;
    char *token; /* NULL: none */
    struct process_service *service;
    struct tunnels *tunnels;
    struct http_server *server;
    struct listener *listener;
};

static bool is_authorized(const struct guest_agent *agent, const struct exchange *exchange)
{
    const struct fields *fields = &exchange->request.fields;
    struct slice value = fields_value(fields, FIELD_AUTHORIZATION);
    struct slice scheme = SLICE("Bearer ");

    return agent->token == NULL || (fields_count_of(fields, FIELD_AUTHORIZATION) == 1 &&
                                    slice_starts_with_nocase(value, scheme) &&
                                    slice_equal_secret(slice_trim(slice_skip(value, scheme.len)),
                                                       slice_from_string(agent->token)));
}

static bool path_is(struct slice path, struct slice wanted)
{
    return slice_equal(path, wanted);
}

static void reply_get(struct exchange *exchange, struct slice path)
{
    if (path_is(path, SLICE("/health")))
        plain_reply(exchange, 204, SLICE_EMPTY, SLICE_EMPTY);
    else if (path_is(path, SLICE("/")))
        plain_reply(exchange, 200, SLICE("text/plain; charset=utf-8"),
                    SLICE("guest agent: POST /process.Process/<Method>\n"));
    else
        plain_reply_error(exchange, 404, "unimplemented", SLICE("no such path"));
}

/* The call in its own protocol when its head can be read, so that its client understands. */
static void refuse_unauthenticated(struct exchange *exchange, enum process_method method,
                                   bool is_call)
{
    static const struct slice words = SLICE("agent token is missing or wrong");
    struct rpc rpc;

    if (is_call && rpc_classify(exchange, method, &rpc) == 0) {
        rpc_fail(&rpc, CONNECT_UNAUTHENTICATED, words);
        plain_reply_rest(exchange);
    } else {
        plain_reply_error(exchange, 401, "unauthenticated", words);
    }
}

static void on_request(void *owner, struct exchange *exchange)
{
    struct guest_agent *agent = owner;
    const struct head *request = &exchange->request;
    struct slice rest = request->target;
    struct slice path = slice_cut(&rest, '?');
    bool is_get =
        slice_equal(request->method, SLICE("GET")) || slice_equal(request->method, SLICE("HEAD"));
    enum process_method method = METHOD_START;
    bool is_call = process_method_from_path(path, &method);

    if (is_get && path_is(path, SLICE("/health")))
        reply_get(exchange, path);
    else if (!is_authorized(agent, exchange))
        refuse_unauthenticated(exchange, method, is_call);
    else if (slice_equal(request->method, SLICE("CONNECT")) && request->protocol.len == 0)
        tunnels_open(agent->tunnels, exchange);
    else if (is_call)
        process_service_call(agent->service, method, exchange);
    else if (is_get)
        reply_get(exchange, path);
    else
        plain_reply_error(exchange, 404, "unimplemented", SLICE("no such method or path"));
}

static void on_conn_closed(void *arg)
{
    struct guest_agent *agent = arg;

    if (agent->listener != NULL)
        listener_conn_closed(agent->listener);
}

static void on_conn(void *owner, struct conn *conn)
{
    struct guest_agent *agent = owner;

    http_server_accept(agent->server, conn, on_conn_closed, agent);
}

void guest_agent_options_init(struct guest_agent_options *options)
{
    *options = (struct guest_agent_options){ .token = SLICE_EMPTY, .max_conns = MAX_CONNS };
    http_limits_init(&options->http);
    /* The one client is the gateway: thousands of streams of many users share a few connections
     * that never end. */
    options->http.streams = 8192;
    options->http.streams_untrusted = 8192;
    options->http.streams_total = UINT32_MAX;
    options->http.reset_burst = 20000;
    options->http.reset_rate = 20000;
    process_service_options_init(&options->service);
    tunnel_options_init(&options->tunnel);
}

static enum status build(struct guest_agent *agent, const struct guest_agent_options *options)
{
    const struct http_server_options server = {
        .limits = &agent->limits,
        .allow_connect = true,
        .on_request = on_request,
        .owner = agent,
    };
    const struct listener_options listen = {
        .address = options->listen,
        .tls = options->tls,
        .handshake_timeout_ms = HANDSHAKE_TIMEOUT_MS,
        .max_conns = options->max_conns,
        .inherited_fd = -1,
    };

    agent->service = process_service_create(agent->loop, &options->service);
    agent->tunnels = tunnels_create(agent->loop, &options->tunnel);
    agent->server = http_server_create(agent->loop, &server);

    enum status status = listener_create(agent->loop, &listen, on_conn, agent, &agent->listener);

    if (status == STATUS_OK)
        tunnels_set_own_port(agent->tunnels, address_port(listener_address(agent->listener)));
    return status;
}

enum status guest_agent_create(struct loop *loop, const struct guest_agent_options *options,
                               struct guest_agent **out_agent)
{
    struct guest_agent *agent = mem_zeroed(sizeof(*agent));

    agent->loop = loop;
    agent->limits = options->http;
    agent->token = options->token.len > 0 ? slice_dup(options->token) : NULL;

    enum status status = build(agent, options);

    if (status == STATUS_OK)
        *out_agent = agent;
    else
        guest_agent_destroy(&agent);
    return status;
}

void guest_agent_destroy(struct guest_agent **agent)
{
    struct guest_agent *a = *agent;

    if (a == NULL)
        return;
    if (a->listener != NULL)
        listener_stop(a->listener);
    http_server_destroy(&a->server);
    listener_destroy(&a->listener);
    tunnels_destroy(&a->tunnels);
    process_service_destroy(&a->service);
    if (a->token != NULL)
        mem_wipe(a->token, strlen(a->token));
    mem_free(a->token);
    mem_free(a);
    *agent = NULL;
}

const struct address *guest_agent_address(const struct guest_agent *agent)
{
    return listener_address(agent->listener);
}

void guest_agent_stop_listening(struct guest_agent *agent)
{
    listener_stop(agent->listener);
}

struct process_service *guest_agent_service(struct guest_agent *agent)
{
    return agent->service;
}

struct tunnels *guest_agent_tunnels(struct guest_agent *agent)
{
    return agent->tunnels;
}
