/* admin/admin_server.c — see admin_server.h. The only place where libh2o serves HTTP: its servers
 * buffer whole bodies and lack newer defences, which is fine for a few friends on this machine. */
#include "admin/admin_server.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <h2o.h>

#include "admin/admin_api.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/evloop.h"
#include "net/listener.h"
#include "net/timer.h"
#include "net/watch.h"

enum {
    CONNS_MAX = 64,
    BODY_BYTES_MAX = 64 * 1024,
    EXHAUSTED_PAUSE_MS = 100,
    LAST_TURNS = 50,
    LAST_TURN_MS = 10,
    RESERVE = 4, /* descriptors: one for what an answer reads, the others for connections */
    IDLE_MS = 10000,
    LIBRARY_IDLE_MS = 7 * 24 * 3600 * 1000, /* libh2o's timeouts run by the wall clock, which may
                                               be set; ours does the work */
};

struct admin_conn {
    struct list link;
    struct admin_server *server;
    h2o_socket_t *socket;
    struct timer idle;
    size_t request_count; /* under way */
};

struct admin_server {
    struct loop *loop;
    struct address address;
    char *secret; /* owned; NULL: none */
    struct admin_api api;
    struct watch *door;
    struct timer pause;
    struct process_facts *facts;
    int reserve[RESERVE]; /* of no use, but to be given up when the process has no other left */
    size_t reserve_count;
    struct list conns;
    size_t conn_count;
    struct task nudge;
    h2o_globalconf_t config;
    h2o_context_t context;
    h2o_accept_ctx_t accept;
    bool is_built;
};

struct admin_handler {
    h2o_handler_t super; /* first */
    struct admin_server *server;
};

/* In the request's memory pool, whose end is the client's going. */
struct http_request {
    struct admin_request base; /* first */
    struct admin_server *server;
    struct admin_conn *conn; /* outlives its requests */
    h2o_req_t *req;
};

/* ---- answers ---- */

static const char *reason_of(unsigned http)
{
    switch (http) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

/* libh2o goes on after a write when it is run the next time, and would first wait for news: an
 * answer that was given outside of its callbacks must see to it that the next turn does not wait. */
static void on_nudge(struct task *task)
{
    (void)task;
}

static void send_answer(struct admin_request *request, unsigned http, const char *content_type,
                        struct slice body)
{
    struct http_request *own = (struct http_request *)(void *)request;
    h2o_req_t *req = own->req;

    task_defer_next(own->server->loop, &own->server->nudge);
    req->res.status = (int)http;
    req->res.reason = reason_of(http);
    req->res.content_length = body.len;
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, content_type,
                   strlen(content_type));
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CACHE_CONTROL, NULL,
                   H2O_STRLIT("no-store"));
    h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("x-content-type-options"), 0,
                          NULL, H2O_STRLIT("nosniff"));
    if (http == 401)
        h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("www-authenticate"), 1,
                              NULL, H2O_STRLIT("Bearer realm=\"exec-gateway admin\""));
    h2o_send_inline(req, body.ptr, body.len);
}

/* ---- who may ask ---- */

static struct slice header_of(const h2o_req_t *req, const char *name)
{
    ssize_t at = h2o_find_header_by_str(&req->headers, name, strlen(name), -1);

    if (at == -1)
        return SLICE_EMPTY;
    return slice_of(req->headers.entries[at].value.base, req->headers.entries[at].value.len);
}

static bool host_is_loopback(struct slice authority)
{
    struct slice host = authority;
    uint16_t port;

    if (address_split(authority, &host, &port) != STATUS_OK)
        host = authority;
    return slice_equal_nocase(host, SLICE("localhost")) || slice_starts_with(host, SLICE("127.")) ||
           slice_equal(host, SLICE("::1")) || slice_equal(host, SLICE("[::1]"));
}

static bool secret_is_right(const struct admin_server *server, const h2o_req_t *req)
{
    struct slice value = header_of(req, "authorization");

    if (server->secret == NULL)
        return true;
    if (!slice_starts_with_nocase(value, SLICE("Bearer ")))
        return false;
    return slice_equal_secret(slice_trim(slice_skip(value, 7)), slice_from_string(server->secret));
}

/* True: it may go on. */
static bool admit(const struct admin_server *server, const h2o_req_t *req,
                  struct admin_request *request)
{
    bool is_unix = server->address.storage.ss_family == AF_UNIX;

    if (header_of(req, "origin").len > 0 || header_of(req, "sec-fetch-site").len > 0) {
        admin_answer_error(request, 403, "permission_denied", "not for pages in a browser");
        return false;
    }
    if (is_unix || admin_api_is_public(request->path))
        return true;
    if (!host_is_loopback(slice_of(req->input.authority.base, req->input.authority.len))) {
        admin_answer_error(request, 403, "permission_denied", "Host must be a loopback name");
        return false;
    }
    if (!secret_is_right(server, req)) {
        admin_answer_error(request, 401, "unauthenticated",
                           "send Authorization: Bearer <the content of admin.secret_file>");
        return false;
    }
    return true;
}

/* ---- the reserve ---- */

static void fill_reserve(struct admin_server *server)
{
    while (server->reserve_count < RESERVE) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        if (fd == -1)
            return;
        server->reserve[server->reserve_count++] = fd;
    }
}

/* The descriptor may be taken by a worker before we use it: hence more than one, and no promise. */
static bool give_up_one(struct admin_server *server)
{
    if (server->reserve_count == 0)
        return false;
    close(server->reserve[--server->reserve_count]);
    return true;
}

static void drop_reserve(struct admin_server *server)
{
    while (give_up_one(server))
        continue;
}

/* ---- requests ---- */

static void on_request_gone(void *memory)
{
    struct http_request *request = memory;

    if (request->base.on_gone != NULL)
        request->base.on_gone(request->base.arg);
    request->conn->request_count--;
    timer_arm(&request->conn->idle, IDLE_MS);
}

static int on_req(h2o_handler_t *handler, h2o_req_t *req)
{
    struct admin_server *server = ((struct admin_handler *)(void *)handler)->server;
    struct http_request *request =
        h2o_mem_alloc_shared(&req->pool, sizeof(*request), on_request_gone);
    struct slice target = slice_of(req->input.path.base, req->input.path.len);

    loop_woke(server->loop);
    *request =
        (struct http_request){ .req = req,
                               .server = server,
                               .conn = req->conn->callbacks->get_socket(req->conn)->on_close.data };
    request->conn->request_count++;
    request->base.method = slice_of(req->input.method.base, req->input.method.len);
    request->base.path = slice_cut(&target, '?');
    request->base.query = target;
    request->base.body = slice_of(req->entity.base, req->entity.len);
    request->base.answer = send_answer;
    if (admit(server, req, &request->base)) {
        (void)give_up_one(server); /* what is in use is read from files */
        admin_api_handle(&server->api, &request->base);
        fill_reserve(server);
    }
    return 0;
}

/* ---- conns ---- */

static void read_when_allowed(struct admin_server *server)
{
    if (server->door != NULL)
        watch_read(server->door, server->conn_count < CONNS_MAX && !timer_is_armed(&server->pause));
}

static void on_conn_closed(void *data)
{
    struct admin_conn *conn = data;
    struct admin_server *server = conn->server;

    list_unlink(&conn->link);
    timer_cancel(&conn->idle);
    server->conn_count--;
    mem_free(conn);
    fill_reserve(server);
    read_when_allowed(server);
}

/* libh2o gives no way to close a connection from outside: the peer's end is made up. */
static void hang_up(struct admin_conn *conn)
{
    (void)shutdown(h2o_socket_get_fd(conn->socket), SHUT_RDWR);
}

static void on_idle(struct timer *timer)
{
    struct admin_conn *conn = CONTAINER_OF(timer, struct admin_conn, idle);

    timer_arm(&conn->idle, IDLE_MS);
    if (conn->request_count > 0)
        return;
    hang_up(conn);
    evloop_socket_ask_again(conn->socket);
}

static void take(struct admin_server *server, int fd)
{
    struct admin_conn *conn = mem_zeroed(sizeof(*conn));

    conn->server = server;
    conn->socket = h2o_evloop_socket_create(loop_evloop(server->loop), fd,
                                            H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION);
    conn->socket->on_close.cb = on_conn_closed;
    conn->socket->on_close.data = conn;
    timer_init(&conn->idle, server->loop, on_idle);
    timer_arm(&conn->idle, IDLE_MS);
    list_append(&server->conns, &conn->link);
    server->conn_count++;
    h2o_accept(&server->accept, conn->socket); /* last line: it may be gone */
}

static void on_pause_over(struct timer *timer)
{
    struct admin_server *server = CONTAINER_OF(timer, struct admin_server, pause);

    fill_reserve(server);
    read_when_allowed(server);
}

static int accept_one(struct admin_server *server)
{
    int fd = accept4(watch_fd(server->door), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    /* The last of the reserve is for what an answer reads. */
    while (fd == -1 && (errno == EMFILE || errno == ENFILE) && server->reserve_count > 1 &&
           give_up_one(server)) {
        fd = accept4(watch_fd(server->door), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            server->facts->admin_reserve_used++;
    }
    return fd;
}

static void on_knock(void *owner)
{
    struct admin_server *server = owner;
    int fd = accept_one(server);

    if (fd >= 0)
        take(server, fd);
    else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        timer_arm(&server->pause, EXHAUSTED_PAUSE_MS);
    read_when_allowed(server);
}

/* ---- life ---- */

static void refuse_conn(void *owner, struct conn *conn)
{
    (void)owner;
    conn_destroy(&conn);
}

/* A listener binds (and knows about Unix sockets that were left over); libh2o wants its own socket,
 * so the descriptor is all that is kept. */
static enum status open_door(struct admin_server *server, int inherited_fd)
{
    static const struct watch_events events = { .on_readable = on_knock };
    struct listener_options options = {
        .address = server->address,
        .max_conns = 1,
        .inherited_fd = inherited_fd > 0 ? inherited_fd : -1,
        .unix_mode = 0600,
    };
    struct listener *listener = NULL;
    enum status status = listener_create(server->loop, &options, refuse_conn, server, &listener);

    if (status != STATUS_OK)
        return status;
    server->address = *listener_address(listener);
    int fd = fcntl(listener_fd(listener), F_DUPFD_CLOEXEC, 0);

    listener_destroy(&listener);
    if (fd == -1)
        return STATUS_SYSTEM;
    server->door = watch_create(server->loop, fd, &events, server);
    watch_read(server->door, true);
    return STATUS_OK;
}

static void build_http(struct admin_server *server)
{
    h2o_config_init(&server->config);
    server->config.server_name = h2o_iovec_init(H2O_STRLIT("exec-gateway"));
    server->config.max_request_entity_size = BODY_BYTES_MAX;
    server->config.http1.upgrade_to_http2 = 0;
    server->config.http1.req_timeout = LIBRARY_IDLE_MS;
    server->config.http2.idle_timeout = LIBRARY_IDLE_MS;

    h2o_hostconf_t *host =
        h2o_config_register_host(&server->config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    struct admin_handler *handler = (void *)h2o_create_handler(path, sizeof(*handler));

    handler->super.on_req = on_req;
    handler->server = server;
    h2o_context_init(&server->context, loop_evloop(server->loop), &server->config);
    server->accept.ctx = &server->context;
    server->accept.hosts = server->config.hosts;
    server->is_built = true;
}

enum status admin_server_create(struct loop *loop, const struct admin_options *options,
                                struct admin_server **out_server)
{
    struct admin_server *server = mem_zeroed(sizeof(*server));

    server->loop = loop;
    server->facts = options->facts;
    server->address = options->address;
    server->secret = options->secret != NULL ? mem_copy_string(options->secret) : NULL;
    list_init(&server->conns);
    timer_init(&server->pause, loop, on_pause_over);
    task_init(&server->nudge, on_nudge);
    server->api = (struct admin_api){
        .loop = loop,
        .facts = options->facts,
        .records = records_create(loop, options->store, &options->records),
        .drain = options->drain,
        .arg = options->arg,
    };
    admin_api_init(&server->api);
    enum status status = open_door(server, options->inherited_fd);

    if (status == STATUS_OK) {
        build_http(server);
        fill_reserve(server);
        *out_server = server;
    } else {
        admin_server_destroy(&server);
    }
    return status;
}

static void free_secret(struct admin_server *server)
{
    if (server->secret != NULL)
        mem_wipe(server->secret, strlen(server->secret));
    mem_free(server->secret);
    server->secret = NULL;
}

void admin_server_set(struct admin_server *server, const char *secret,
                      const struct records_options *records)
{
    free_secret(server);
    server->secret = secret != NULL ? mem_copy_string(secret) : NULL;
    records_set_options(server->api.records, records);
}

int admin_server_fd(const struct admin_server *server)
{
    return server->door != NULL ? watch_fd(server->door) : -1;
}

void admin_server_close_door(struct admin_server *server)
{
    watch_destroy(&server->door);
}

const struct address *admin_server_address(const struct admin_server *server)
{
    return &server->address;
}

/* The loop is turned until each has noticed. */
static void end_conns(struct admin_server *server)
{
    for (unsigned i = 0; i < LAST_TURNS && !list_is_empty(&server->conns); i++) {
        loop_turn(server->loop, LAST_TURN_MS);
        if (i > 0)
            continue;
        LIST_EACH(&server->conns, link)
        hang_up(LIST_ITEM(link, struct admin_conn, link));
    }
}

void admin_server_destroy(struct admin_server **server)
{
    struct admin_server *s = *server;

    if (s == NULL)
        return;
    *server = NULL;
    bool is_ours = s->door != NULL; /* else it was never bound, or it is the next generation's */

    watch_destroy(&s->door);
    timer_cancel(&s->pause);
    if (s->is_built) {
        admin_api_close(&s->api);
        end_conns(s);
    }
    drop_reserve(s);
    admin_api_deinit(&s->api);
    records_destroy(&s->api.records);
    if (s->is_built && list_is_empty(&s->conns)) {
        h2o_multithread_queue_t *queue = s->context.queue; /* 2.2.5 forgets to free it */

        h2o_context_dispose(&s->context);
        free(queue);
        h2o_config_dispose(&s->config);
    } else if (s->is_built) {
        log_warn("admin: connections are left open conns=%zu", s->conn_count);
    }
    if (is_ours && s->address.storage.ss_family == AF_UNIX)
        (void)unlink(((const struct sockaddr_un *)(const void *)&s->address.storage)->sun_path);
    task_cancel(&s->nudge);
    free_secret(s);
    if (list_is_empty(&s->conns)) /* else they may still mention it */
        mem_free(s);
}
