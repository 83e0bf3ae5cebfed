/* worker.c — see worker.h. Order of building is the order of the sentence, from the far end:
 * routes, tokens, upstreams, proxy, server, listeners; destruction goes the other way. */
#include "worker.h"

#include <unistd.h>

#include "base/mem.h"
#include "net/timer.h"
#include "proxy/access_log.h"

enum { DRAIN_CHECK_MS = 20 };

/* Each listener hands its conns to the one server. */
struct worker_door {
    struct worker *worker;
    struct listener *listener;
    struct listener_counters *counters;
};

struct worker {
    struct loop *loop;
    struct config *config;
    struct config *
        birth; /* what routes, upstreams and listeners were built from: they borrow it to the end */
    struct http_limits limits; /* a reload writes new values in place: codecs borrow it */
    size_t index;
    struct route_resolver *routes;
    struct token_verifier *tokens;
    struct upstream_pool *upstreams;
    struct access_log *log;
    struct proxy *proxy;
    struct http_server *server;
    struct worker_door *doors;                      /* by listener */
    struct listener_counters *door_counters;        /* the same */
    const struct route_store_redis_counters *redis; /* NULL: routes come from elsewhere */
    size_t door_count;
    int access_log_fd;
    struct timer drain_check;
    void (*on_drained)(void *arg);
    void *arg;
    bool is_draining;
};

/* A message to the worker's own thread. */
struct worker_order {
    struct worker *worker;
    struct config *config;
    int fd;
};

static void on_listener_conn_closed(void *arg)
{
    struct worker_door *door = arg;

    counter_subtract(&door->counters->open, 1);
    listener_conn_closed(door->listener);
}

static void on_conn(void *owner, struct conn *conn)
{
    struct worker_door *door = owner;

    counter_add(&door->counters->open, 1);
    counter_add(&door->counters->total, 1);
    http_server_accept(door->worker->server, conn, on_listener_conn_closed, door);
}

static enum status create_store(struct worker *w, struct route_store **out_store)
{
    struct config *config = w->config;
    struct buf words = { 0 };
    enum status status = STATUS_OK;

    switch (config->routes) {
    case CONFIG_ROUTES_REDIS:
        *out_store = route_store_redis_create(w->loop, &config->redis);
        w->redis = route_store_redis_counters(*out_store);
        break;
    case CONFIG_ROUTES_TABLE:
        *out_store = route_store_table_create(w->loop, config->table);
        break;
    default:
        status = route_store_file_create(w->loop, config->routes_file, &words, out_store);
        if (status != STATUS_OK)
            log_error("worker: routes cannot be read error=\"%s\"", buf_text(&words));
        buf_deinit(&words);
    }
    return status;
}

static enum status build_routes(struct worker *w)
{
    struct route_store *store = NULL;
    enum status status = create_store(w, &store);

    if (status == STATUS_OK)
        w->routes = route_resolver_create(w->loop, store, &w->config->resolver);
    return status;
}

static void build_server(struct worker *w)
{
    struct upstream_options upstream = w->config->upstream;
    struct http_server_options server = {
        .limits = &w->limits,
        .refuse = proxy_refuse,
        .on_request = proxy_on_request,
    };

    upstream.limits = &w->limits;
    w->tokens = token_verifier_create(&w->config->token, w->config->key_store, loop_clock(w->loop));
    w->upstreams = upstream_pool_create(w->loop, &upstream);
    if (w->access_log_fd >= 0)
        w->log = access_log_create(w->loop, w->access_log_fd);
    w->proxy = proxy_create(w->loop, &w->config->proxy, w->tokens, w->routes, w->upstreams, w->log);
    server.owner = w->proxy;
    w->server = http_server_create(w->loop, &server);
}

/* The first worker binds; the others bind beside it (SO_REUSEPORT) or, on a Unix socket, share its
 * descriptor. */
static struct listener_options
listener_options_of(const struct worker *w, const struct worker_options *options, size_t index)
{
    const struct config_listener *from = &w->config->listeners[index];
    bool is_unix = from->address.storage.ss_family == AF_UNIX;

    return (struct listener_options){
        .address = options->first != NULL ? *worker_listener_address(options->first, index)
                                          : from->address,
        .tls = from->tls ? w->config->tls : NULL,
        .handshake_timeout_ms = w->config->handshake_ms,
        .max_conns = options->max_conns,
        .inherited_fd = is_unix && options->first != NULL
                            ? dup(listener_fd(options->first->doors[index].listener))
                            : -1,
        .reuse_port = !is_unix,
        .proxy_protocol = from->proxy_protocol,
        .proxy_protocol_from = from->proxy_protocol_from.items,
        .proxy_protocol_from_count = from->proxy_protocol_from.count,
        .proxy_protocol_timeout_ms = w->config->proxy_header_ms,
    };
}

static enum status build_listeners(struct worker *w, const struct worker_options *options)
{
    enum status status = STATUS_OK;

    w->door_count = w->config->listener_count;
    w->doors = mem_zeroed(w->door_count * sizeof(*w->doors));
    w->door_counters = mem_zeroed(w->door_count * sizeof(*w->door_counters));
    for (size_t i = 0; status == STATUS_OK && i < w->door_count; i++) {
        struct listener_options listener = listener_options_of(w, options, i);

        w->doors[i].worker = w;
        w->doors[i].counters = &w->door_counters[i];
        status = listener_create(w->loop, &listener, on_conn, &w->doors[i], &w->doors[i].listener);
    }
    return status;
}

static void on_drain_check(struct timer *timer)
{
    struct worker *w = CONTAINER_OF(timer, struct worker, drain_check);

    if (http_server_conn_count(w->server) > 0)
        timer_arm(&w->drain_check, DRAIN_CHECK_MS);
    else
        w->on_drained(w->arg);
}

static enum status worker_build(struct worker *w, const struct worker_options *options)
{
    enum status status = loop_create(&w->loop);

    if (status == STATUS_OK) {
        timer_init(&w->drain_check, w->loop, on_drain_check);
        status = build_routes(w);
    }
    if (status == STATUS_OK) {
        build_server(w);
        status = build_listeners(w, options);
    }
    return status;
}

enum status worker_create(const struct worker_options *options, struct worker **out_worker)
{
    struct worker *w = mem_zeroed(sizeof(*w));

    w->config = config_ref(options->config);
    w->birth = config_ref(options->config);
    w->limits = options->config->limits;
    w->index = options->index;
    w->on_drained = options->on_drained;
    w->arg = options->arg;
    w->access_log_fd = options->access_log_fd;
    enum status status = worker_build(w, options);

    if (status == STATUS_OK)
        *out_worker = w;
    else
        worker_destroy(&w);
    return status;
}

void worker_destroy(struct worker **worker)
{
    struct worker *w = *worker;

    if (w == NULL)
        return;
    for (size_t i = 0; i < w->door_count; i++) {
        if (w->doors[i].listener != NULL)
            listener_stop(w->doors[i].listener);
    }
    proxy_destroy(&w->proxy);
    http_server_destroy(&w->server);
    for (size_t i = 0; i < w->door_count; i++)
        listener_destroy(&w->doors[i].listener);
    mem_free(w->doors);
    mem_free(w->door_counters);
    access_log_destroy(&w->log);
    upstream_pool_destroy(&w->upstreams);
    token_verifier_destroy(&w->tokens);
    route_resolver_destroy(&w->routes);
    if (w->loop != NULL)
        timer_cancel(&w->drain_check);
    loop_destroy(&w->loop);
    config_unref(&w->config);
    config_unref(&w->birth);
    mem_free(w);
    *worker = NULL;
}

void worker_run(struct worker *worker)
{
    loop_run(worker->loop);
}

void worker_post_stop(struct worker *worker)
{
    loop_stop(worker->loop);
}

static void drain(void *arg)
{
    struct worker *w = arg;

    if (w->is_draining)
        return;
    w->is_draining = true;
    proxy_drain(w->proxy);
    for (size_t i = 0; i < w->door_count; i++)
        listener_stop(w->doors[i].listener);
    http_server_drain(w->server, 0);
    timer_arm(&w->drain_check, 0);
}

void worker_post_drain(struct worker *worker)
{
    loop_post(worker->loop, drain, worker);
}

static void post_order(struct worker *worker, void (*run)(void *), struct config *config, int fd)
{
    struct worker_order *order = mem_alloc(sizeof(*order));

    *order = (struct worker_order){ worker, config, fd };
    loop_post(worker->loop, run, order);
}

/* Listeners, routes and upstream settings are fixed at start (the check in gateway.c says so); the
 * rest is new from here on. */
static void reload(void *arg)
{
    struct worker_order *order = arg;
    struct worker *w = order->worker;
    struct config *old = w->config;

    w->config = order->config;
    w->limits = w->config->limits;
    token_verifier_set_keys(w->tokens, w->config->key_store);
    proxy_set_options(w->proxy, &w->config->proxy);
    for (size_t i = 0; i < w->door_count && i < w->config->listener_count; i++)
        listener_set_tls(w->doors[i].listener, w->config->listeners[i].tls ? w->config->tls : NULL);
    config_unref(&old);
    mem_free(order);
}

void worker_post_reload(struct worker *worker, struct config *config)
{
    post_order(worker, reload, config_ref(config), -1);
}

static void set_log_fd(void *arg)
{
    struct worker_order *order = arg;

    if (order->worker->log != NULL)
        access_log_set_fd(order->worker->log, order->fd);
    mem_free(order);
}

void worker_post_log_fd(struct worker *worker, int fd)
{
    post_order(worker, set_log_fd, NULL, fd);
}

struct worker_view worker_view(const struct worker *worker)
{
    return (struct worker_view){
        .loop = worker->loop,
        .proxy = worker->proxy,
        .server = worker->server,
        .upstreams = worker->upstreams,
        .routes = worker->routes,
        .tokens = worker->tokens,
        .log = worker->log,
        .redis = worker->redis,
        .listeners = worker->door_counters,
    };
}

size_t worker_listener_count(const struct worker *worker)
{
    return worker->door_count;
}

const struct address *worker_listener_address(const struct worker *worker, size_t index)
{
    return listener_address(worker->doors[index].listener);
}
