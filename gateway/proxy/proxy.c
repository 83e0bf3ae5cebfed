/* proxy/proxy.c — the door of the proxy: which host a request is for, and what all calls share. */
#include "proxy/proxy.h"

#include <sys/random.h>

#include "base/mem.h"
#include "proxy/call.h"
#include "proxy/call_expiry.h"
#include "proxy/call_log.h"
#include "proxy/forward_headers.h"
#include "proxy/port_call.h"

/* ---- options ---- */

static const char *const *copy_texts(const char *const *texts, size_t count)
{
    char **copies = mem_zeroed((count + 1) * sizeof(*copies));

    for (size_t i = 0; i < count; i++)
        copies[i] = mem_copy_string(texts[i]);
    return (const char *const *)copies;
}

static void free_texts(const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mem_free((char *)texts[i]);
    mem_free((char **)texts);
}

static struct proxy_config *config_create(const struct proxy_options *options)
{
    struct proxy_config *config = mem_zeroed(sizeof(*config));
    struct proxy_options *own = &config->options;
    size_t networks_bytes = options->trusted_proxy_count * sizeof(struct network);
    struct network *networks = mem_zeroed(networks_bytes + 1);

    *own = *options;
    if (networks_bytes > 0)
        memcpy(networks, options->trusted_proxies, networks_bytes);
    own->trusted_proxies = networks;
    own->exec_hosts = copy_texts(options->exec_hosts, options->exec_host_count);
    own->cors_origins = copy_texts(options->cors_origins, options->cors_origin_count);
    own->ports.domains = copy_texts(options->ports.domains, options->ports.domain_count);
    own->ports.reserved_handles =
        copy_texts(options->ports.reserved_handles, options->ports.reserved_handle_count);
    if (options->ports.login_url != NULL)
        own->ports.login_url = mem_copy_string(options->ports.login_url);
    if (options->server_tls != NULL)
        own->server_tls = tls_context_ref(options->server_tls);
    if (options->agent_tls != NULL)
        own->agent_tls = tls_context_ref(options->agent_tls);
    if (options->agent_mutual_tls != NULL)
        own->agent_mutual_tls = tls_context_ref(options->agent_mutual_tls);
    config->cors = (struct cors_policy){ .origins = own->cors_origins,
                                         .origin_count = own->cors_origin_count };
    config->ref_count = 1;
    return config;
}

void proxy_config_unref(struct proxy_config **config)
{
    struct proxy_config *old = *config;

    *config = NULL;
    if (old == NULL || --old->ref_count > 0)
        return;
    free_texts(old->options.exec_hosts, old->options.exec_host_count);
    free_texts(old->options.cors_origins, old->options.cors_origin_count);
    free_texts(old->options.ports.domains, old->options.ports.domain_count);
    free_texts(old->options.ports.reserved_handles, old->options.ports.reserved_handle_count);
    mem_free((char *)(uintptr_t)old->options.ports.login_url);
    tls_context_unref(&old->options.server_tls);
    mem_free((struct network *)old->options.trusted_proxies);
    tls_context_unref(&old->options.agent_tls);
    tls_context_unref(&old->options.agent_mutual_tls);
    mem_free(old);
}

/* ---- the wall clock ---- */

enum { CLOCK_STEP_MS = 100 };

static int64_t wall_ahead_ms(const struct proxy *proxy)
{
    const struct clock *clock = loop_clock(proxy->loop);

    return clock->wall_ms - (int64_t)clock->now_ms;
}

void proxy_follow_wall_clock(struct proxy *proxy)
{
    int64_t ahead_ms = wall_ahead_ms(proxy), step_ms = ahead_ms - proxy->wall_ahead_ms;

    if (step_ms > -CLOCK_STEP_MS && step_ms < CLOCK_STEP_MS)
        return;
    proxy->wall_ahead_ms = ahead_ms;
    for (struct list *at = proxy->calls.next, *next; at != &proxy->calls; at = next) {
        struct call *call = LIST_ITEM(at, struct call, link);

        next = at->next;
        call_enter(call);
        call_expiry_aim(call);
        call_leave(call); /* last line: it may be gone */
    }
}

/* ---- life ---- */

struct proxy *proxy_create(struct loop *loop, const struct proxy_options *options,
                           struct token_verifier *tokens, struct route_resolver *routes,
                           struct upstream_pool *upstreams, struct access_log *log)
{
    struct proxy *proxy = mem_zeroed(sizeof(*proxy));

    proxy->loop = loop;
    proxy->tokens = tokens;
    proxy->routes = routes;
    proxy->upstreams = upstreams;
    proxy->log = log;
    proxy->config = config_create(options);
    proxy->retry_credit = RETRY_CREDIT_MAX / 2;
    list_init(&proxy->calls);
    proxy->wall_ahead_ms = wall_ahead_ms(proxy);
    wake_init(&proxy->wake, proxy);
    ENSURE(getrandom(proxy->random_state, sizeof(proxy->random_state), 0) ==
           (ssize_t)sizeof(proxy->random_state));
    proxy->random_state[0] |= 1; /* never all zero */
    return proxy;
}

void proxy_destroy(struct proxy **proxy)
{
    struct proxy *old = *proxy;

    *proxy = NULL;
    if (old == NULL)
        return;
    while (!list_is_empty(&old->calls)) {
        struct call *call = LIST_FIRST(&old->calls, struct call, link);
        call_enter(call);
        call->outcome = STATUS_DRAINING;
        call_close_client(call, RESET_CANCEL);
        call_leave(call);
    }
    wake_deinit(&old->wake);
    in_flight_deinit(&old->by_session);
    in_flight_deinit(&old->by_computer);
    proxy_config_unref(&old->config);
    buf_deinit(&old->scratch);
    mem_free(old);
}

void proxy_drain(struct proxy *proxy)
{
    proxy->is_draining = true;
}

void proxy_end_calls(struct proxy *proxy)
{
    /* Ending one call may free it, and no other. */
    LIST_EACH(&proxy->calls, link)
    {
        struct call *call = LIST_ITEM(link, struct call, link);

        call_enter(call);
        call_cut(call, STATUS_DRAINING);
        call_leave(call);
    }
}

void proxy_set_overloaded(struct proxy *proxy, bool is_overloaded)
{
    proxy->is_overloaded = is_overloaded;
}

size_t proxy_call_count(const struct proxy *proxy)
{
    return proxy->call_count;
}

void proxy_set_options(struct proxy *proxy, const struct proxy_options *options)
{
    struct proxy_config *fresh = config_create(options);

    proxy_config_unref(&proxy->config);
    proxy->config = fresh;
}

const struct proxy_counters *proxy_counters(const struct proxy *proxy)
{
    return &proxy->counters;
}

/* xoroshiro128+ (Blackman, Vigna): ids and jitter. */
uint64_t proxy_random(struct proxy *proxy)
{
    uint64_t a = proxy->random_state[0], b = proxy->random_state[1];
    uint64_t result = a + b;

    b ^= a;
    proxy->random_state[0] = (a << 24 | a >> 40) ^ b ^ b << 16;
    proxy->random_state[1] = b << 37 | b >> 27;
    return result;
}

/* ---- hosts ---- */

/* Calls that go nowhere: answered in the caller's protocol and logged like any other. */
static enum status refuse_host(struct call *call, enum status status)
{
    if (exec_request_parse(&call_client(call)->request, &call->exec, NULL) != STATUS_OK)
        call->words = NULL;
    counter_add(&call->proxy->counters.calls_other, 1);
    return status;
}

static enum status authorize_unknown_host(struct call *call)
{
    return refuse_host(call, STATUS_HOST_UNKNOWN);
}

static enum status authorize_bad_host(struct call *call)
{
    return refuse_host(call, STATUS_MALFORMED);
}

static const struct call_kind kind_unknown_host = { .name = "none",
                                                    .authorize = authorize_unknown_host };
static const struct call_kind kind_bad_host = { .name = "none", .authorize = authorize_bad_host };

static enum status authorize_misdirected(struct call *call)
{
    return refuse_host(call, STATUS_MISDIRECTED);
}

static const struct call_kind kind_misdirected = { .name = "none",
                                                   .authorize = authorize_misdirected };

struct host_names proxy_host_names(const struct proxy_options *options)
{
    return (struct host_names){
        .exec_hosts = options->exec_hosts,
        .exec_host_count = options->exec_host_count,
        .port_domains = options->ports.domains,
        .port_domain_count = options->ports.domain_count,
        .reserved_handles = options->ports.reserved_handles,
        .reserved_handle_count = options->ports.reserved_handle_count,
    };
}

/* Browsers use one connection for every name that its certificate has; a name that it has not was
 * never asked for by an honest one. */
static bool is_misdirected(const struct proxy_options *options, const struct exchange *exchange,
                           struct slice host)
{
    const struct conn_tls_info *tls = &exchange->link->tls;

    if (tls->version == NULL || options->server_tls == NULL)
        return false;
    if (host.ptr[0] == '[')
        host = slice_of(host.ptr + 1, host.len - 2);
    return !tls_context_covers(options->server_tls, tls->server_name, host);
}

static const struct call_kind *kind_of(struct proxy *proxy, struct exchange *exchange)
{
    const struct proxy_options *options = &proxy->config->options;
    const struct head *request = &exchange->request;
    struct slice scheme = request->scheme.len > 0 ? request->scheme : SLICE("http");
    struct host_names names = proxy_host_names(options);
    struct slice authority;

    if (authority_normalize(request->authority, scheme, &exchange->arena, &authority) != STATUS_OK)
        return &kind_bad_host;
    if (is_misdirected(options, exchange, authority_host(authority)))
        return &kind_misdirected;
    switch (host_choose(&names, authority_host(authority))) {
    case HOST_IS_EXEC:
        return &call_kind_exec;
    case HOST_IS_LOOKED_UP:
        return &call_kind_port;
    default:
        return &kind_unknown_host;
    }
}

void proxy_on_request(void *owner, struct exchange *exchange)
{
    struct proxy *proxy = owner;

    call_start(proxy, kind_of(proxy, exchange), exchange);
}

void proxy_refuse(void *owner, struct exchange *exchange, enum status status)
{
    struct proxy *proxy = owner;
    const uint64_t random[2] = { proxy_random(proxy), proxy_random(proxy) };
    struct reply reply = {
        .status = status,
        .caller = CALLER_HTTP,
        .request_id =
            forward_request_id(&exchange->request.fields, false, random, &exchange->arena),
        .cors_origin = cors_allowed_origin(&proxy->config->cors, &exchange->request.fields),
        .is_head_request = slice_equal(exchange->request.method, SLICE("HEAD")),
    };

    counter_add(&proxy->counters.ended[status], 1);
    counter_add(&proxy->counters.metrics.refused[status], 1);
    call_log_refusal(proxy, exchange, status, reply.request_id);
    reply_send(exchange, &reply);
}
