/* net/listener.c — one listening socket. A wake accepts at most 16 conns, so that a storm of
 * newcomers does not starve the conns that exist. Two pauses keep a full house from spinning: at
 * max_conns until 5 % have gone, and 100 ms when the process is out of descriptors or memory. */
#include "net/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/timer.h"
#include "net/tls_context.h"
#include "net/watch.h"

enum {
    ACCEPT_BATCH = 16,
    BACKLOG = 4096,
    EXHAUSTED_PAUSE_MS = 100,
    LOG_AGAIN_MS = 10000,
    PROXY_HEADER_TIMEOUT_MS = 5000
};

struct listener {
    struct loop *loop;
    struct address address;
    struct tls_context *tls;
    uint64_t handshake_timeout_ms;
    struct listener_group *group;
    struct list member; /* of the group */
    struct listener_group own_group;
    size_t conn_count;
    listener_conn_fn *on_conn;
    void *owner;
    struct watch *watch; /* NULL once stopped */
    struct timer pause;
    uint64_t exhausted_logged_ms;
    uint64_t refused_logged_ms;
    struct network *trusted; /* whose PROXY headers are believed */
    size_t trusted_count;
    uint64_t proxy_timeout_ms;
    bool proxy_protocol;
    bool is_held;
    unsigned accept_batch; /* connections that the next wake may take */
};

static void read_when_allowed(struct listener *l)
{
    if (l->watch != NULL)
        watch_read(l->watch, !l->group->is_full && !l->is_held && !timer_is_armed(&l->pause));
}

static void on_pause_over(struct timer *timer)
{
    read_when_allowed(CONTAINER_OF(timer, struct listener, pause));
}

/* ---- the limit that several share ---- */

void listener_group_init(struct listener_group *group, size_t max_conns)
{
    ENSURE(max_conns > 0);
    *group = (struct listener_group){ .max_conns = max_conns };
    list_init(&group->members);
}

static void group_set_full(struct listener_group *group, bool is_full)
{
    group->is_full = is_full;
    LIST_EACH(&group->members, link)
    {
        read_when_allowed(LIST_ITEM(link, struct listener, member));
    }
}

void listener_group_set_limit(struct listener_group *group, size_t max_conns)
{
    ENSURE(max_conns > 0);
    group->max_conns = max_conns;
    group_set_full(group, group->conn_count >= max_conns);
}

static void group_enter(struct listener_group *group, uint64_t now_ms)
{
    if (++group->conn_count < group->max_conns || group->is_full)
        return;
    counter_add(&group->full, 1);
    group_set_full(group, true);
    if (group->logged_ms != 0 && now_ms - group->logged_ms < LOG_AGAIN_MS)
        return;
    group->logged_ms = now_ms;
    log_warn("listener: limit of connections reached, accepting stops conns=%zu times=%llu",
             group->conn_count, (unsigned long long)counter_read(&group->full));
}

static void group_leave(struct listener_group *group)
{
    group->conn_count--;
    if (group->is_full && group->conn_count <= group->max_conns - (group->max_conns + 19) / 20)
        group_set_full(group, false);
}

/* ---- accepting ---- */

static void pause_exhausted(struct listener *l, int error)
{
    uint64_t now_ms = loop_clock(l->loop)->now_ms;

    counter_add(&l->group->exhausted, 1);
    if (l->exhausted_logged_ms == 0 || now_ms - l->exhausted_logged_ms >= LOG_AGAIN_MS) {
        char text[ADDRESS_TEXT_BYTES];

        l->exhausted_logged_ms = now_ms;
        log_error("listener: cannot accept, pausing address=%s error=\"%s\"",
                  address_text(&l->address, text), strerror(error));
    }
    timer_arm(&l->pause, EXHAUSTED_PAUSE_MS);
    read_when_allowed(l);
}

/* Dual-stack sockets show IPv4 peers as IPv4-mapped: everybody else sees plain IPv4. */
static void unmap(struct address *address)
{
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&address->storage;
    struct sockaddr_in v4 = { .sin_family = AF_INET };

    if (v6->sin6_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        return;
    v4.sin_port = v6->sin6_port;
    memcpy(&v4.sin_addr, v6->sin6_addr.s6_addr + 12, 4);
    *address = (struct address){ .len = sizeof(v4) };
    memcpy(&address->storage, &v4, sizeof(v4));
}

static bool may_announce(const struct listener *l, const struct address *peer)
{
    if (peer->storage.ss_family == AF_UNIX)
        return true;
    for (size_t i = 0; i < l->trusted_count; i++) {
        if (network_contains(&l->trusted[i], peer))
            return true;
    }
    return false;
}

static void refuse(struct listener *l, int fd, const struct address *peer)
{
    uint64_t now_ms = loop_clock(l->loop)->now_ms;

    close(fd);
    counter_add(&l->group->strangers, 1);
    if (l->refused_logged_ms == 0 || now_ms - l->refused_logged_ms >= LOG_AGAIN_MS) {
        char address[ADDRESS_TEXT_BYTES], host[ADDRESS_TEXT_BYTES];

        l->refused_logged_ms = now_ms;
        log_warn("listener: not a trusted proxy, closed address=%s peer=%s refused=%llu",
                 address_text(&l->address, address), address_host_text(peer, host),
                 (unsigned long long)counter_read(&l->group->strangers));
    }
}

static struct conn *conn_of(struct listener *l, int fd, const struct address *peer)
{
    if (l->proxy_protocol)
        return conn_accepted_proxied(l->loop, fd, peer, l->tls, l->handshake_timeout_ms,
                                     l->proxy_timeout_ms);
    return conn_accepted(l->loop, fd, peer, l->tls, l->handshake_timeout_ms);
}

/* Returns the errno that ends this batch, or 0. */
static int accept_one(struct listener *l)
{
    struct address peer = { .len = sizeof(peer.storage) };
    int fd = accept4(watch_fd(l->watch), (struct sockaddr *)&peer.storage, &peer.len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd == -1)
        return errno;
    if (peer.len < sizeof(peer.storage.ss_family)) { /* an unnamed Unix socket */
        peer.storage.ss_family = AF_UNIX;
        peer.len = sizeof(peer.storage.ss_family);
    }
    unmap(&peer);
    if (l->proxy_protocol && !may_announce(l, &peer)) {
        refuse(l, fd, &peer);
        return 0;
    }
    l->conn_count++;
    group_enter(l->group, loop_clock(l->loop)->now_ms);
    l->on_conn(l->owner, conn_of(l, fd, &peer));
    return 0;
}

/* Accepts as many as the last time and, if there were so many, twice as many the next time: who
 * comes alone does not cost a second accept4() that finds nobody. */
static void on_readable(void *owner)
{
    struct listener *l = owner;
    unsigned batch = l->accept_batch;

    for (unsigned i = 0; i < batch && !l->group->is_full && l->watch != NULL; i++) {
        int error = accept_one(l);

        if (error == EAGAIN) {
            l->accept_batch = i > 1 ? i : 1;
            break;
        }
        if (i + 1 == batch && batch < ACCEPT_BATCH)
            l->accept_batch = batch * 2;
        if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
            pause_exhausted(l, error);
            break;
        }
        /* All else concerns the one newcomer: ECONNABORTED, EPERM of a firewall, EINTR … */
    }
    read_when_allowed(l);
}

static const struct watch_events listener_events = { .on_readable = on_readable };

/* A socket file that nobody listens on is left over from a process that died. */
static void unlink_stale(const struct address *address)
{
    const char *path = ((const struct sockaddr_un *)(const void *)&address->storage)->sun_path;
    struct stat info;

    if (lstat(path, &info) == -1 || !S_ISSOCK(info.st_mode))
        return;

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1)
        return;
    if (connect(fd, (const struct sockaddr *)&address->storage, address->len) == -1 &&
        errno == ECONNREFUSED)
        (void)unlink(path);
    close(fd);
}

/* "*:80" on a machine without IPv6 means any IPv4. */
static int open_socket(struct address *address)
{
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int fd = socket(address->storage.ss_family, type, 0);
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&address->storage;

    if (fd == -1 && errno == EAFNOSUPPORT && v6->sin6_family == AF_INET6 &&
        IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr)) {
        uint16_t port = address_port(address);

        ENSURE(address_parse(SLICE("0.0.0.0:0"), address) == STATUS_OK);
        address_set_port(address, port);
        fd = socket(AF_INET, type, 0);
    }
    return fd;
}

/* Returns 0 or an errno. */
static int bind_unix(const struct address *address, int fd, unsigned mode)
{
    const char *path = ((const struct sockaddr_un *)(const void *)&address->storage)->sun_path;

    unlink_stale(address);
    if (mode != 0 && fchmod(fd, mode) == -1) /* bind() gives the path the mode of the socket */
        return errno;
    if (bind(fd, (const struct sockaddr *)&address->storage, address->len) == -1)
        return errno;
    if (mode != 0 && chmod(path, mode) == -1) /* what the umask took away */
        return errno;
    return listen(fd, BACKLOG) == -1 ? errno : 0;
}

/* Returns 0 or an errno. */
static int bind_and_listen(struct listener *l, int fd, bool reuse_port)
{
    int on = 1, off = 0;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (l->address.storage.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == -1)
        return errno;
    if (bind(fd, (const struct sockaddr *)&l->address.storage, l->address.len) == -1 ||
        listen(fd, BACKLOG) == -1)
        return errno;
    return 0;
}

static enum status listener_open(struct listener *l, const struct listener_options *options)
{
    int fd = options->inherited_fd;
    int error = 0, on = 1;

    if (fd < 0) {
        fd = open_socket(&l->address);
        if (fd == -1)
            error = errno;
        else if (l->address.storage.ss_family == AF_UNIX)
            error = bind_unix(&l->address, fd, options->unix_mode);
        else
            error = bind_and_listen(l, fd, options->reuse_port);
    }
    if (error != 0) {
        char text[ADDRESS_TEXT_BYTES];

        log_error("listener: cannot listen address=%s error=\"%s\"",
                  address_text(&l->address, text), strerror(error));
        if (fd >= 0)
            close(fd);
        return STATUS_SYSTEM;
    }
    l->watch = watch_create(l->loop, fd, &listener_events, l);
    l->accept_batch = 1;

    socklen_t len = sizeof(l->address.storage);

    if (getsockname(fd, (struct sockaddr *)&l->address.storage, &len) == 0)
        l->address.len = len;
    if (l->address.storage.ss_family != AF_UNIX) /* what it accepts inherits this */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    read_when_allowed(l);
    return STATUS_OK;
}

enum status listener_create(struct loop *loop, const struct listener_options *options,
                            listener_conn_fn *on_conn, void *owner, struct listener **out_listener)
{
    struct listener *l = mem_zeroed(sizeof(*l));

    list_init(&l->member);
    l->group = options->group;
    if (l->group == NULL) {
        listener_group_init(&l->own_group, options->max_conns);
        l->group = &l->own_group;
    }
    list_append(&l->group->members, &l->member);
    l->loop = loop;
    l->address = options->address;
    l->tls = options->tls != NULL ? tls_context_ref(options->tls) : NULL;
    l->handshake_timeout_ms = options->handshake_timeout_ms;
    l->proxy_protocol = options->proxy_protocol;
    l->proxy_timeout_ms = options->proxy_protocol_timeout_ms > 0
                              ? options->proxy_protocol_timeout_ms
                              : PROXY_HEADER_TIMEOUT_MS;
    l->trusted_count = options->proxy_protocol_from_count;
    if (l->trusted_count > 0) {
        size_t size = l->trusted_count * sizeof(struct network);

        l->trusted = memcpy(mem_alloc(size), options->proxy_protocol_from, size);
    }
    l->on_conn = on_conn;
    l->owner = owner;
    l->is_held = options->is_held;
    timer_init(&l->pause, loop, on_pause_over);

    enum status status = listener_open(l, options);

    if (status == STATUS_OK)
        *out_listener = l;
    else
        listener_destroy(&l);
    return status;
}

void listener_destroy(struct listener **listener)
{
    struct listener *l = *listener;

    if (l == NULL)
        return;
    listener_stop(l);
    list_unlink(&l->member);
    l->group->conn_count -= l->conn_count;
    tls_context_unref(&l->tls);
    mem_free(l->trusted);
    mem_free(l);
    *listener = NULL;
}

void listener_stop(struct listener *listener)
{
    timer_cancel(&listener->pause);
    watch_destroy(&listener->watch);
}

void listener_finish(struct listener *listener)
{
    while (listener->watch != NULL && !listener->group->is_full) {
        int error = accept_one(listener);

        if (error == EAGAIN || error == EMFILE || error == ENFILE || error == ENOBUFS ||
            error == ENOMEM || error == EINVAL)
            break;
    }
    listener_stop(listener);
}

void listener_hold(struct listener *listener, bool held)
{
    listener->is_held = held;
    read_when_allowed(listener);
}

void listener_set_timeouts(struct listener *listener, uint64_t handshake_timeout_ms,
                           uint64_t proxy_protocol_timeout_ms)
{
    listener->handshake_timeout_ms = handshake_timeout_ms;
    if (proxy_protocol_timeout_ms > 0)
        listener->proxy_timeout_ms = proxy_protocol_timeout_ms;
}

void listener_set_tls(struct listener *listener, struct tls_context *tls)
{
    struct tls_context *old = listener->tls;

    listener->tls = tls != NULL ? tls_context_ref(tls) : NULL;
    tls_context_unref(&old);
}

void listener_conn_closed(struct listener *listener)
{
    ENSURE(listener->conn_count > 0);
    listener->conn_count--;
    group_leave(listener->group);
}

const struct address *listener_address(const struct listener *listener)
{
    return &listener->address;
}

int listener_fd(const struct listener *listener)
{
    return listener->watch != NULL ? watch_fd(listener->watch) : -1;
}

size_t listener_conn_count(const struct listener *listener)
{
    return listener->conn_count;
}
