/* net/watch.c — a libh2o socket that only polls (H2O_SOCKET_FLAG_DONT_READ). libh2o gathers the
 * changes of a turn and tells epoll about the outcome alone, so switching reading off and on again
 * within a turn costs no system call; a socket that it closed stays allocated until the turn is
 * over, which is what makes destruction in a callback safe. */
#include "net/watch.h"

#include <h2o/socket.h>

#include "base/mem.h"
#include "net/loop_internal.h"

/* What 2.2.5 has behind h2o_socket_t. */
struct polled_socket {
    h2o_socket_t common;
    int fd;
    int flags; /* H2O_SOCKET_FLAG_… */
};

enum { POLLED = H2O_SOCKET_FLAG_IS_POLLED_FOR_READ | H2O_SOCKET_FLAG_IS_POLLED_FOR_WRITE };

struct watch {
    struct list link;
    h2o_socket_t *socket;
    struct loop *loop;
    const struct watch_events *events;
    void *owner;
};

struct watch *watch_create(struct loop *loop, int fd, const struct watch_events *events,
                           void *owner)
{
    struct watch *watch = mem_zeroed(sizeof(*watch));

    ENSURE(fd >= 0);
    watch->loop = loop;
    watch->events = events;
    watch->owner = owner;
    watch->socket = h2o_evloop_socket_create(loop_evloop(loop), fd, H2O_SOCKET_FLAG_DONT_READ);
    watch->socket->data = watch;
    ENSURE(((struct polled_socket *)(void *)watch->socket)->fd == fd);
    list_append(loop_watches(loop), &watch->link);
    return watch;
}

void watch_set_owner(struct watch *watch, const struct watch_events *events, void *owner)
{
    watch->events = events;
    watch->owner = owner;
}

void watch_destroy(struct watch **watch)
{
    struct watch *w = *watch;

    if (w == NULL)
        return;
    h2o_socket_close(w->socket);
    list_unlink(&w->link);
    mem_free(w);
    *watch = NULL;
}

int watch_release(struct watch **watch)
{
    struct watch *w = *watch;
    h2o_socket_export_t exported;

    w->socket->_cb.write =
        NULL; /* libh2o has no way to take back notify_write, and exporting asserts it */
    ENSURE(h2o_socket_export(w->socket, &exported) == 0); /* frees the socket, not the descriptor */
    h2o_buffer_dispose(&exported.input);
    list_unlink(&w->link);
    mem_free(w);
    *watch = NULL;
    return exported.fd;
}

static void on_readable(h2o_socket_t *socket, const char *error)
{
    struct watch *watch = socket->data;
    struct loop *loop = watch->loop; /* the owner may destroy the watch */

    (void)error; /* the owner's own read tells */
    loop_woke(loop);
    watch->events->on_readable(watch->owner);
    loop_left_callback(loop);
}

static void on_writable(h2o_socket_t *socket, const char *error)
{
    struct watch *watch = socket->data;
    struct loop *loop = watch->loop; /* the owner may destroy the watch */

    (void)error;
    loop_woke(loop);
    watch->events->on_writable(watch->owner);
    loop_left_callback(loop);
}

void watch_read(struct watch *watch, bool enabled)
{
    if (enabled == (h2o_socket_is_reading(watch->socket) != 0))
        return;
    if (enabled)
        h2o_socket_read_start(watch->socket, on_readable);
    else
        h2o_socket_read_stop(watch->socket);
}

void watch_write(struct watch *watch)
{
    if (!h2o_socket_is_writing(watch->socket))
        h2o_socket_notify_write(watch->socket, on_writable);
}

int watch_fd(const struct watch *watch)
{
    return h2o_socket_get_fd(watch->socket);
}

/* ---- what epoll refused ---- */

/* libh2o marks a socket as polled before it asks epoll, and leaves the mark when epoll refuses. */
static bool unmark(h2o_socket_t *socket)
{
    struct polled_socket *s = (struct polled_socket *)(void *)socket;

    if ((s->flags & POLLED) == 0 || (s->flags & H2O_SOCKET_FLAG__EPOLL_IS_REGISTERED) != 0)
        return false;
    s->flags &= ~POLLED;
    return true;
}

static void ask_read(h2o_socket_t *socket)
{
    if (h2o_socket_is_reading(socket))
        h2o_socket_read_start(socket, socket->_cb.read);
}

/* libh2o has taken the request to be notified for done; only the callback is left of it. */
static void ask_write(h2o_socket_t *socket)
{
    h2o_socket_cb on_write = socket->_cb.write;

    if (!h2o_socket_is_writing(socket) || (((struct polled_socket *)(void *)socket)->flags &
                                           H2O_SOCKET_FLAG_IS_POLLED_FOR_WRITE) != 0)
        return;
    socket->_cb.write = NULL; /* as libh2o asserts */
    h2o_socket_notify_write(socket, on_write);
}

void watch_note_refused(struct list *watches)
{
    LIST_EACH(watches, link)
    (void)unmark(LIST_ITEM(link, struct watch, link)->socket);
}

void watch_ask_again(struct list *watches)
{
    LIST_EACH(watches, link)
    {
        h2o_socket_t *socket = LIST_ITEM(link, struct watch, link)->socket;

        ask_read(socket);
        ask_write(socket);
    }
}

void evloop_socket_ask_again(h2o_socket_t *socket)
{
    if (unmark(socket))
        ask_read(socket); /* a write that waits is of a socket that epoll has taken */
}
