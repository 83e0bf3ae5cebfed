/* net/watch.c — a libh2o socket that only polls (H2O_SOCKET_FLAG_DONT_READ). libh2o gathers the
 * changes of a turn and tells epoll about the outcome alone, so switching reading off and on again
 * within a turn costs no system call; a socket that it closed stays allocated until the turn is
 * over, which is what makes destruction in a callback safe. */
#include "net/watch.h"

#include <h2o/socket.h>

#include "base/mem.h"
#include "net/loop_internal.h"

struct watch {
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
    loop_count_watch(loop, 1);
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
    loop_count_watch(w->loop, -1);
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
    loop_count_watch(w->loop, -1);
    mem_free(w);
    *watch = NULL;
    return exported.fd;
}

static void on_readable(h2o_socket_t *socket, const char *error)
{
    struct watch *watch = socket->data;

    (void)error; /* the owner's own read tells */
    loop_woke(watch->loop);
    watch->events->on_readable(watch->owner);
}

static void on_writable(h2o_socket_t *socket, const char *error)
{
    struct watch *watch = socket->data;

    (void)error;
    loop_woke(watch->loop);
    watch->events->on_writable(watch->owner);
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
