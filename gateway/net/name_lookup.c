/* net/name_lookup.c — getaddrinfo() on helper threads, at most four at once for each loop.
 *
 *     start ──▶ waiting ──▶ running (a thread) ──▶ message ──▶ on_found
 *        └────▶ task (numeric, or refused at once) ──────────▶ on_found
 *
 * getaddrinfo() cannot be stopped, so a lookup whose caller or whose loop has gone stays until its
 * thread is through: the mutex of the lookup guards `loop`, which the thread must not touch once it
 * is NULL. */
#include "net/name_lookup.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/loop_internal.h"

enum { RUNNING_MAX = 4, HOST_MAX_BYTES = 255, STACK_BYTES = 512 * 1024 };

struct name_lookup {
    struct resident resident;
    struct list link;    /* in the queue's `waiting` */
    struct task at_once; /* the answer was known at the start */
    struct message message;
    struct lookup_queue *queue;
    struct loop *own_loop; /* of the loop's thread */

    pthread_mutex_t mutex;
    struct loop *loop; /* for the thread's message; NULL: the loop is gone */

    char host[HOST_MAX_BYTES + 1];
    uint16_t port;
    enum status status;
    struct address address;
    name_found_fn *on_found; /* NULL: cancelled */
    void *arg;
};

static void lookup_free(struct name_lookup *l)
{
    pthread_mutex_destroy(&l->mutex);
    mem_free(l);
}

static void answer(struct name_lookup *l)
{
    name_found_fn *on_found = l->on_found;
    void *arg = l->arg;
    enum status status = l->status;
    struct address address = l->address;

    loop_remove_resident(&l->resident);
    lookup_free(l);
    if (on_found != NULL)
        on_found(arg, status, status == STATUS_OK ? &address : NULL);
}

static void run_at_once(struct task *task)
{
    answer(CONTAINER_OF(task, struct name_lookup, at_once));
}

/* One address is all that is tried, so it should be the one that most likely works: "localhost" is
 * ::1 first, where few agents listen. */
static const struct addrinfo *choose(const struct addrinfo *found)
{
    for (const struct addrinfo *each = found; each != NULL; each = each->ai_next) {
        if (each->ai_family == AF_INET)
            return each;
    }
    return found;
}

static void resolve(struct name_lookup *l)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
    struct addrinfo *found = NULL;
    int error = getaddrinfo(l->host, NULL, &hints, &found);
    const struct addrinfo *chosen = choose(found);

    if (error == 0 && chosen != NULL && chosen->ai_addrlen <= sizeof(l->address.storage)) {
        memcpy(&l->address.storage, chosen->ai_addr, chosen->ai_addrlen);
        l->address.len = chosen->ai_addrlen;
        address_set_port(&l->address, l->port);
        l->status = STATUS_OK;
    } else {
        log_debug("lookup: no address host=%s error=\"%s\"", l->host, gai_strerror(error));
    }
    if (found != NULL)
        freeaddrinfo(found);
}

static void *run_thread(void *arg)
{
    struct name_lookup *l = arg;

    resolve(l);
    pthread_mutex_lock(&l->mutex);

    bool is_wanted = l->loop != NULL;

    if (is_wanted)
        loop_post_message(l->loop, &l->message);
    /* Once it is posted, the loop's thread may free it, but not before it has had the mutex. */
    pthread_mutex_unlock(&l->mutex);
    if (!is_wanted)
        lookup_free(l);
    return NULL;
}

/* Signals are for the main thread. */
static bool start_thread(struct name_lookup *l)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;

    ENSURE(pthread_attr_init(&attributes) == 0);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);

    bool started = pthread_create(&thread, &attributes, run_thread, l) == 0;

    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return started;
}

static void start_waiting(struct lookup_queue *queue)
{
    while (queue->running_count < RUNNING_MAX && !list_is_empty(&queue->waiting)) {
        struct name_lookup *l = LIST_FIRST(&queue->waiting, struct name_lookup, link);

        list_unlink(&l->link);
        l->loop = l->own_loop;
        if (start_thread(l)) {
            queue->running_count++;
            continue;
        }
        log_error("lookup: cannot start a thread host=%s", l->host);
        l->loop = NULL;
        task_defer_next(l->own_loop, &l->at_once);
    }
}

static void on_message(struct message *message)
{
    struct name_lookup *l = CONTAINER_OF(message, struct name_lookup, message);
    struct lookup_queue *queue = l->queue;

    pthread_mutex_lock(&l->mutex); /* the thread has let go of it */
    l->loop = NULL;
    pthread_mutex_unlock(&l->mutex);
    queue->running_count--;
    start_waiting(queue);
    answer(l);
}

/* In loop_destroy(), which has ended the resident already. */
static void on_drop(struct message *message)
{
    struct name_lookup *l = CONTAINER_OF(message, struct name_lookup, message);

    lookup_free(l);
}

/* The loop goes. A posted message goes with it (on_drop); a thread that is not through yet frees
 * the lookup itself. */
static void on_loop_end(struct resident *resident)
{
    struct name_lookup *l = CONTAINER_OF(resident, struct name_lookup, resident);
    bool is_waiting = list_is_linked(&l->link);
    bool is_at_once = list_is_linked(&l->at_once.link);

    list_unlink(&l->link);
    task_cancel(&l->at_once);
    if (is_waiting || is_at_once) {
        lookup_free(l);
        return;
    }
    pthread_mutex_lock(&l->mutex);
    l->loop = NULL;
    pthread_mutex_unlock(&l->mutex);
}

static struct name_lookup *lookup_alloc(struct loop *loop, uint16_t port, name_found_fn *on_found,
                                        void *arg)
{
    struct name_lookup *l = mem_zeroed(sizeof(*l));

    ENSURE(on_found != NULL);
    ENSURE(pthread_mutex_init(&l->mutex, NULL) == 0);
    l->resident.end = on_loop_end;
    list_init(&l->link);
    task_init(&l->at_once, run_at_once);
    list_init(&l->message.link);
    l->message.run = on_message;
    l->message.drop = on_drop;
    l->queue = loop_lookups(loop);
    l->own_loop = loop;
    l->port = port;
    l->status = STATUS_AGENT_UNREACHABLE;
    l->on_found = on_found;
    l->arg = arg;
    loop_add_resident(loop, &l->resident);
    return l;
}

/* "127.0.0.1", "::1" */
static bool numeric_address(struct slice host, uint16_t port, struct address *out_address)
{
    char text[HOST_MAX_BYTES + 16];
    bool is_v6 = slice_find(host, ':') < host.len;
    int len = snprintf(text, sizeof(text), is_v6 ? "[%.*s]:%u" : "%.*s:%u", SLICE_ARGS(host),
                       (unsigned)port);

    return !slice_equal(host, SLICE("*")) &&
           address_parse(slice_of(text, (size_t)len), out_address) == STATUS_OK;
}

struct name_lookup *name_lookup_start(struct loop *loop, struct slice host, uint16_t port,
                                      name_found_fn *on_found, void *arg)
{
    struct name_lookup *l = lookup_alloc(loop, port, on_found, arg);
    bool is_possible =
        host.len > 0 && host.len <= HOST_MAX_BYTES && memchr(host.ptr, 0, host.len) == NULL;

    if (is_possible && numeric_address(host, port, &l->address))
        l->status = STATUS_OK;
    if (!is_possible || l->status == STATUS_OK) {
        task_defer_next(loop, &l->at_once);
        return l;
    }
    slice_to_string(host, l->host, sizeof(l->host));
    list_append(&l->queue->waiting, &l->link);
    start_waiting(l->queue);
    return l;
}

void name_lookup_cancel(struct name_lookup **lookup)
{
    struct name_lookup *l = *lookup;

    if (l == NULL)
        return;
    *lookup = NULL;
    l->on_found = NULL;
    if (!list_is_linked(&l->link) && !list_is_linked(&l->at_once.link))
        return; /* its thread is on it; on_message() comes */
    list_unlink(&l->link);
    task_cancel(&l->at_once);
    loop_remove_resident(&l->resident);
    lookup_free(l);
}
