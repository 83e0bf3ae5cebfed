/* worker.c — see worker.h. Order of building is the order of the sentence, from the far end:
 * routes, tokens, upstreams, proxy, server, listeners; destruction goes the other way. */
#include "worker.h"

#include <errno.h>
#include <semaphore.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/timer.h"
#include "pressure.h"
#include "proxy/access_log.h"
#include "sockets.h"

enum { CHECK_MS = 20, BEAT_MS = 500, PRESSED_MS = 5000 };

/* Each socket of each listener hands its conns to the one server. */
struct worker_door {
    struct worker *worker;
    size_t index; /* of the listener in the configuration */
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
    struct worker_door *doors; /* the first of each listener, by listener; then further sockets */
    struct listener_counters *door_counters;        /* by listener */
    const struct route_store_redis_counters *redis; /* NULL: routes come from elsewhere */
    size_t door_count;
    struct listener_group group; /* all doors share one limit of conns */
    int access_log_fd;
    struct timer drain_check, warm_check, beat;
    struct counter beats;
    struct address_count *addresses;
    void (*on_warm)(void *arg);
    void (*on_drained)(void *arg);
    void *arg;
    sem_t stopped, may_end; /* its thread's loop has stopped; it may take everything down */
    unsigned pressure;
    bool is_held;
    bool is_draining;
};

/* A message to the worker's own thread. */
struct worker_order {
    struct worker *worker;
    struct config *config;
    uint64_t number;
    bool flag;
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
        .addresses = w->addresses,
        .enable_connect_protocol = true, /* WebSockets of published ports (RFC 8441) */
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
 * descriptor. `fd`: a socket that was there before us; -1: none. */
static struct listener_options
listener_options_of(struct worker *w, const struct worker_options *options, size_t index, int fd)
{
    const struct config_listener *from = &w->config->listeners[index];
    bool is_unix = from->address.storage.ss_family == AF_UNIX;

    if (fd < 0 && is_unix && options->first != NULL)
        fd = dup(listener_fd(options->first->doors[index].listener));
    return (struct listener_options){
        .address = options->first != NULL ? *worker_listener_address(options->first, index)
                                          : from->address,
        .tls = from->tls ? w->config->tls : NULL,
        .handshake_timeout_ms = w->config->handshake_ms,
        .group = &w->group,
        .is_held = options->is_held,
        .inherited_fd = fd,
        .reuse_port = !is_unix,
        .unix_mode = config_unix_modes[from->unix_mode],
        .proxy_protocol = from->proxy_protocol,
        .proxy_protocol_from = from->proxy_protocol_from.items,
        .proxy_protocol_from_count = from->proxy_protocol_from.count,
        .proxy_protocol_timeout_ms = w->config->proxy_header_ms,
    };
}

static enum status build_door(struct worker *w, const struct worker_options *options,
                              struct worker_door *door, size_t index, size_t nth)
{
    int fd = sockets_take(options->sockets, options->socket_groups[index], w->index,
                          options->worker_count, nth);
    struct listener_options listener = listener_options_of(w, options, index, fd);

    door->worker = w;
    door->index = index;
    door->counters = &w->door_counters[index];
    return listener_create(w->loop, &listener, on_conn, door, &door->listener);
}

static size_t further_sockets(const struct worker *w, const struct worker_options *options,
                              size_t index)
{
    size_t share = sockets_share(options->sockets, options->socket_groups[index], w->index,
                                 options->worker_count);

    return share > 1 ? share - 1 : 0;
}

static enum status build_listeners(struct worker *w, const struct worker_options *options)
{
    size_t listener_count = w->config->listener_count, next = listener_count;
    enum status status = STATUS_OK;

    w->door_count = listener_count;
    for (size_t i = 0; i < listener_count; i++)
        w->door_count += further_sockets(w, options, i);
    w->doors = mem_zeroed(w->door_count * sizeof(*w->doors));
    w->door_counters = mem_zeroed(listener_count * sizeof(*w->door_counters));
    for (size_t i = 0; status == STATUS_OK && i < listener_count; i++) {
        size_t further = further_sockets(w, options, i);

        status = build_door(w, options, &w->doors[i], i, 0);
        for (size_t nth = 1; status == STATUS_OK && nth <= further; nth++)
            status = build_door(w, options, &w->doors[next++], i, nth);
    }
    return status;
}

/* A route that leads back to us would go round in circles. */
static void shun_own_listeners(struct worker *w)
{
    struct address *own = mem_zeroed((w->door_count + 1) * sizeof(*own));

    for (size_t i = 0; i < w->door_count; i++)
        own[i] = *listener_address(w->doors[i].listener);
    own[w->door_count] = w->config->admin_address;
    upstream_pool_set_own(w->upstreams, own, w->door_count + 1);
    mem_free(own);
}

static void on_drain_check(struct timer *timer)
{
    struct worker *w = CONTAINER_OF(timer, struct worker, drain_check);

    if (http_server_conn_count(w->server) > 0)
        timer_arm(&w->drain_check, CHECK_MS);
    else
        w->on_drained(w->arg);
}

/* Redis was reached, so that a request finds its route. */
static void on_warm_check(struct timer *timer)
{
    struct worker *w = CONTAINER_OF(timer, struct worker, warm_check);

    if (w->redis != NULL && counter_read(&w->redis->link_up) == 0)
        timer_arm(&w->warm_check, CHECK_MS);
    else
        w->on_warm(w->arg);
}

static void on_beat(struct timer *timer)
{
    struct worker *w = CONTAINER_OF(timer, struct worker, beat);

    counter_add(&w->beats, 1);
    mem_cool();
    if (w->proxy != NULL)
        proxy_follow_wall_clock(w->proxy);
    timer_arm(&w->beat, BEAT_MS);
}

uint64_t worker_beats(const struct worker *worker)
{
    return counter_read(&worker->beats);
}

static enum status worker_build(struct worker *w, const struct worker_options *options)
{
    enum status status = loop_create(&w->loop);

    if (status == STATUS_OK) {
        if (options->config->io_uring)
            loop_gather_io(w->loop);
        timer_init(&w->drain_check, w->loop, on_drain_check);
        timer_init(&w->warm_check, w->loop, on_warm_check);
        timer_init(&w->beat, w->loop, on_beat);
        status = build_routes(w);
    }
    if (status == STATUS_OK) {
        build_server(w);
        status = build_listeners(w, options);
    }
    if (status == STATUS_OK) {
        shun_own_listeners(w);
        timer_arm(&w->warm_check, 0);
        timer_arm(&w->beat, BEAT_MS);
    }
    return status;
}

enum status worker_create(const struct worker_options *options, struct worker **out_worker)
{
    struct worker *w = mem_zeroed(sizeof(*w));

    ENSURE(sem_init(&w->stopped, 0, 0) == 0 && sem_init(&w->may_end, 0, 0) == 0);
    w->config = config_ref(options->config);
    w->birth = config_ref(options->config);
    w->limits = options->config->limits;
    w->index = options->index;
    listener_group_init(&w->group, options->max_conns);
    w->addresses = options->addresses;
    w->is_held = options->is_held;
    w->on_warm = options->on_warm;
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

/* On the worker's own thread, if it has one: libh2o's sockets point into the memory of the thread
 * that made them, which goes with it. */
static void take_down(struct worker *w)
{
    for (size_t i = 0; i < w->door_count; i++) {
        if (w->doors[i].listener != NULL)
            listener_stop(w->doors[i].listener);
    }
    proxy_destroy(&w->proxy);
    http_server_destroy(&w->server);
    for (size_t i = 0; i < w->door_count; i++)
        listener_destroy(&w->doors[i].listener);
    mem_free(w->doors);
    w->doors = NULL;
    w->door_count = 0;
    access_log_destroy(&w->log);
    upstream_pool_destroy(&w->upstreams);
    token_verifier_destroy(&w->tokens);
    route_resolver_destroy(&w->routes);
    if (w->loop != NULL) {
        timer_cancel(&w->drain_check);
        timer_cancel(&w->warm_check);
        timer_cancel(&w->beat);
    }
    loop_destroy(&w->loop);
}

void worker_destroy(struct worker **worker)
{
    struct worker *w = *worker;

    if (w == NULL)
        return;
    take_down(w);
    mem_free(w->door_counters);
    sem_destroy(&w->stopped);
    sem_destroy(&w->may_end);
    config_unref(&w->config);
    config_unref(&w->birth);
    mem_free(w);
    *worker = NULL;
}

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) == -1)
        ENSURE(errno == EINTR);
}

void worker_run(struct worker *worker)
{
    loop_run(worker->loop);
    ENSURE(sem_post(&worker->stopped) == 0);
    wait_for(&worker->may_end);
    take_down(worker);
}

void worker_wait_stopped(struct worker *worker)
{
    wait_for(&worker->stopped);
}

void worker_let_end(struct worker *worker)
{
    ENSURE(sem_post(&worker->may_end) == 0);
}

void worker_post_stop(struct worker *worker)
{
    loop_stop(worker->loop);
}

static void post_order(struct worker *worker, void (*run)(void *), struct config *config,
                       uint64_t number, bool flag)
{
    struct worker_order *order = mem_alloc(sizeof(*order));

    *order = (struct worker_order){ worker, config, number, flag };
    loop_post(worker->loop, run, order);
}

/* ---- opening, draining, ending ---- */

static void update_holds(struct worker *w)
{
    for (size_t i = 0; i < w->door_count; i++)
        listener_hold(w->doors[i].listener, w->is_held || w->pressure >= PRESSURE_FULL);
}

static void open_doors(void *arg)
{
    struct worker *w = arg;

    w->is_held = false;
    update_holds(w);
}

void worker_post_open(struct worker *worker)
{
    loop_post(worker->loop, open_doors, worker);
}

static void turn_unready(void *arg)
{
    struct worker *w = arg;

    proxy_drain(w->proxy);
}

void worker_post_unready(struct worker *worker)
{
    loop_post(worker->loop, turn_unready, worker);
}

static void drain(void *arg)
{
    struct worker_order *order = arg;
    struct worker *w = order->worker;

    if (!w->is_draining) {
        w->is_draining = true;
        for (size_t i = 0; i < w->door_count; i++) {
            if (order->flag)
                listener_stop(w->doors[i].listener);
            else
                listener_finish(w->doors[i].listener);
        }
        http_server_drain(w->server, order->number);
        timer_arm(&w->drain_check, 0);
    }
    mem_free(order);
}

void worker_post_drain(struct worker *worker, uint64_t spread_ms, bool passed_on)
{
    post_order(worker, drain, NULL, spread_ms, passed_on);
}

static void end_calls(void *arg)
{
    struct worker *w = arg;

    proxy_end_calls(w->proxy);
}

void worker_post_end(struct worker *worker)
{
    loop_post(worker->loop, end_calls, worker);
}

/* ---- reload, memory ---- */

static uint64_t at_most(uint64_t ms, uint64_t limit_ms)
{
    return ms < limit_ms ? ms : limit_ms;
}

/* In place: codecs and pools borrow them. */
static void set_limits(struct worker *w)
{
    w->limits = w->config->limits;
    if (w->pressure >= PRESSURE_HIGH) {
        w->limits.keepalive_ms = at_most(w->limits.keepalive_ms, PRESSED_MS);
        w->limits.idle_ms = at_most(w->limits.idle_ms, PRESSED_MS);
        w->limits.write_stall_ms = at_most(w->limits.write_stall_ms, PRESSED_MS);
    }
    http_server_limits_changed(w->server);
}

static void set_pressure(void *arg)
{
    struct worker_order *order = arg;
    struct worker *w = order->worker;

    w->pressure = (unsigned)order->number;
    mem_free(order);
    set_limits(w);
    proxy_set_overloaded(w->proxy, w->pressure >= PRESSURE_CRITICAL);
    if (w->pressure >= PRESSURE_CRITICAL)
        log_info("memory: idle connections end worker=%zu count=%zu", w->index,
                 http_server_close_idle(w->server));
    update_holds(w);
}

void worker_post_pressure(struct worker *worker, unsigned level)
{
    post_order(worker, set_pressure, NULL, level, false);
}

/* What config_fixed_change() names is fixed at start; the rest is new from here on. */
static void reload(void *arg)
{
    struct worker_order *order = arg;
    struct worker *w = order->worker;
    struct config *old = w->config;

    w->config = order->config;
    set_limits(w);
    token_verifier_set_keys(w->tokens, w->config->key_store);
    proxy_set_options(w->proxy, &w->config->proxy);
    listener_group_set_limit(&w->group, (size_t)order->number);
    for (size_t i = 0; i < w->door_count; i++) {
        struct worker_door *door = &w->doors[i];

        listener_set_tls(door->listener,
                         w->config->listeners[door->index].tls ? w->config->tls : NULL);
        listener_set_timeouts(door->listener, w->config->handshake_ms, w->config->proxy_header_ms);
    }
    config_unref(&old);
    mem_free(order);
}

void worker_post_reload(struct worker *worker, struct config *config, size_t max_conns)
{
    post_order(worker, reload, config_ref(config), max_conns, false);
}

static void set_log_fd(void *arg)
{
    struct worker_order *order = arg;

    if (order->worker->log != NULL)
        access_log_set_fd(order->worker->log, (int)order->number);
    mem_free(order);
}

void worker_post_log_fd(struct worker *worker, int fd)
{
    post_order(worker, set_log_fd, NULL, (uint64_t)fd, false);
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
        .accepts = &worker->group,
    };
}

size_t worker_listener_count(const struct worker *worker)
{
    return worker->birth->listener_count;
}

size_t worker_listener_fds(const struct worker *worker, size_t index, int *out_fds, size_t limit)
{
    size_t count = 0;

    for (size_t i = 0; i < worker->door_count && count < limit; i++) {
        int fd = listener_fd(worker->doors[i].listener);

        if (worker->doors[i].index == index && fd >= 0)
            out_fds[count++] = fd;
    }
    return count;
}

const struct address *worker_listener_address(const struct worker *worker, size_t index)
{
    return listener_address(worker->doors[index].listener);
}
