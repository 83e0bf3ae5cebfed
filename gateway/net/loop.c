/* net/loop.c — the turn: libh2o's epoll loop tells what is ready, everything else is ours.
 *
 * libh2o reads the wall clock and keeps timeouts in lists by duration, so time is kept here:
 * CLOCK_MONOTONIC and the wheel of timer_wheel.c, whose next deadline bounds the wait. The clock is
 * read when the wait ends — by the first callback of a descriptor, or after all of them when there
 * is none — and again before the timers run.
 *
 * Other threads reach a loop through one list under a mutex and one eventfd, written only when the
 * list was empty. */
#include "net/loop.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <h2o/socket.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/loop_internal.h"
#include "net/timer.h"
#include "net/turn_io.h"
#include "net/watch.h"

enum { TASK_ROUNDS_MAX = 1000, SOON_ROUNDS_MAX = 16, ASK_AGAIN_MS = 100, LOG_AGAIN_MS = 10000 };

struct loop {
    h2o_evloop_t *evloop;
    struct clock clock;
    bool clock_is_stale; /* a wait began since the last refresh */
    uint64_t woke_us;    /* when the turn began; 0: it was counted */
    struct loop_counters counters;
    struct timer_wheel timers;
    struct list soon_tasks;
    struct list tasks;
    struct list next_tasks;
    struct list residents;
    struct lookup_queue lookups;
    struct buf scratch;
    bool gathers_io; /* asked for; turn_io is made by the thread that runs the loop */
    struct turn_io *turn_io;
    struct list watches;
    struct timer ask_again; /* epoll refused some of them */
    uint64_t refused_logged_ms;

    struct watch *wake_watch;
    int wake_fd;
    bool has_messages; /* the eventfd said so */
    atomic_bool stopping;
    pthread_mutex_t mutex; /* guards messages */
    struct list messages;
};

/* A message of loop_post(). */
struct post {
    struct message message;
    void (*run)(void *arg);
    void *arg;
};

static void on_wake(void *owner)
{
    struct loop *loop = owner;
    uint64_t count;

    if (read(loop->wake_fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
        loop->has_messages = true;
}

static const struct watch_events wake_events = { .on_readable = on_wake };

static enum status loop_build(struct loop *loop)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    if (fd == -1) {
        log_error("loop: eventfd failed errno=%d", errno);
        return STATUS_SYSTEM;
    }
    loop->evloop = h2o_evloop_create();
    loop->wake_fd = fd;
    loop->wake_watch = watch_create(loop, fd, &wake_events, loop);
    watch_read(loop->wake_watch, true);
    return STATUS_OK;
}

static void on_ask_again(struct timer *timer)
{
    watch_ask_again(&CONTAINER_OF(timer, struct loop, ask_again)->watches);
}

enum status loop_create(struct loop **out_loop)
{
    struct loop *loop = mem_zeroed(sizeof(*loop));

    ENSURE(pthread_mutex_init(&loop->mutex, NULL) == 0);
    list_init(&loop->messages);
    list_init(&loop->soon_tasks);
    list_init(&loop->tasks);
    list_init(&loop->next_tasks);
    list_init(&loop->residents);
    list_init(&loop->watches);
    timer_init(&loop->ask_again, loop, on_ask_again);
    list_init(&loop->lookups.waiting);
    clock_refresh(&loop->clock);
    timer_wheel_init(&loop->timers, loop->clock.now_ms);

    enum status status = loop_build(loop);

    if (status == STATUS_OK)
        *out_loop = loop;
    else
        loop_destroy(&loop);
    return status;
}

/* Frees what h2o_evloop_destroy() of 2.2.5 does: the loop and the sockets that are closed but not
 * yet freed. It forgets the epoll descriptor, the only member that its epoll backend adds behind
 * the public struct. */
static void evloop_destroy(h2o_evloop_t *evloop)
{
    struct epoll_loop {
        h2o_evloop_t common;
        int epoll_fd;
    };
    int epoll_fd = ((struct epoll_loop *)(void *)evloop)->epoll_fd;

    h2o_evloop_destroy(evloop);
    close(epoll_fd);
}

static void drop_messages(struct loop *loop)
{
    while (!list_is_empty(&loop->messages)) {
        struct message *message = LIST_FIRST(&loop->messages, struct message, link);

        list_unlink(&message->link);
        message->drop(message);
    }
}

void loop_destroy(struct loop **loop)
{
    struct loop *l = *loop;

    if (l == NULL)
        return;
    while (!list_is_empty(&l->residents)) {
        struct resident *resident = LIST_FIRST(&l->residents, struct resident, link);

        loop_remove_resident(resident);
        resident->end(resident);
    }
    drop_messages(l);
    watch_destroy(&l->wake_watch);
    timer_cancel(&l->ask_again);
    turn_io_destroy(&l->turn_io);
    ENSURE(list_is_empty(&l->watches));
    ENSURE(timer_wheel_is_empty(&l->timers));
    if (l->evloop != NULL)
        evloop_destroy(l->evloop);
    buf_deinit(&l->scratch);
    pthread_mutex_destroy(&l->mutex);
    mem_free(l);
    *loop = NULL;
}

static void count_turn(struct loop *loop)
{
    if (loop->woke_us != 0)
        histogram_observe(&loop->counters.turn, loop->clock.now_us - loop->woke_us);
    loop->woke_us = 0;
}

/* How long this turn may wait: not at all when work is left, else until the next timer. */
static int wait_until_next_ms(struct loop *loop, int wait_ms)
{
    if (wait_ms <= 0 || !list_is_empty(&loop->soon_tasks) || !list_is_empty(&loop->tasks) ||
        !list_is_empty(&loop->next_tasks))
        return 0;

    uint64_t next_ms = timer_wheel_next_ms(&loop->timers);

    if (next_ms == UINT64_MAX)
        return wait_ms;
    clock_refresh(&loop->clock); /* the last turn may have been long */
    count_turn(loop);
    if (next_ms <= loop->clock.now_ms)
        return 0;

    uint64_t left_ms = next_ms - loop->clock.now_ms;

    return left_ms < (uint64_t)wait_ms ? (int)left_ms : wait_ms;
}

static void run_messages(struct loop *loop)
{
    struct list messages;

    loop->has_messages = false;
    list_init(&messages);
    pthread_mutex_lock(&loop->mutex);
    list_move_all(&messages, &loop->messages);
    pthread_mutex_unlock(&loop->mutex);
    while (!list_is_empty(&messages)) {
        struct message *message = LIST_FIRST(&messages, struct message, link);

        list_unlink(&message->link);
        message->run(message);
    }
}

/* Those that wait now: what they defer waits for the next round. */
static void run_round(struct list *tasks)
{
    struct list running;

    list_init(&running);
    list_move_all(&running, tasks);
    while (!list_is_empty(&running)) {
        struct task *task = LIST_FIRST(&running, struct task, link);

        list_unlink(&task->link);
        task->run(task);
    }
}

void loop_left_callback(struct loop *loop)
{
    for (unsigned round = 0; round < SOON_ROUNDS_MAX && !list_is_empty(&loop->soon_tasks); round++)
        run_round(&loop->soon_tasks);
}

/* A task deferred by a task runs in the next round of the same turn. Tasks that defer each other
 * for ever get 1000 rounds, then descriptors and timers have their turn. */
static void run_tasks(struct loop *loop)
{
    for (unsigned round = 0; round < TASK_ROUNDS_MAX; round++) {
        if (list_is_empty(&loop->soon_tasks) && list_is_empty(&loop->tasks))
            return;
        run_round(&loop->soon_tasks);
        run_round(&loop->tasks);
    }
}

/* epoll_ctl() had no memory for a descriptor, or the user has no watches left: libh2o has taken it
 * off its list of changes and gone no further. It is put off; who owns it has a deadline. */
static void put_off(struct loop *loop, int error)
{
    ENSURE(error == ENOMEM || error == ENOSPC);
    if (loop->evloop->_statechanged.head == NULL) /* libh2o leaves it at the one that failed */
        loop->evloop->_statechanged.tail_ref = &loop->evloop->_statechanged.head;
    watch_note_refused(&loop->watches);
    counter_add(&loop->counters.epoll_refusals, 1);
    if (timer_is_armed(&loop->ask_again))
        return;
    timer_arm(&loop->ask_again, ASK_AGAIN_MS);
    if (loop->refused_logged_ms != 0 && loop->clock.now_ms - loop->refused_logged_ms < LOG_AGAIN_MS)
        return;
    loop->refused_logged_ms = loop->clock.now_ms;
    log_warn("loop: epoll takes no more descriptors, new ones wait errno=%d", error);
}

static void poll_all(struct loop *loop, int wait_ms)
{
    while (h2o_evloop_run(loop->evloop, wait_ms) != 0) {
        if (errno == EINTR)
            return;
        put_off(loop, errno);
        wait_ms = 0;
    }
}

void loop_turn(struct loop *loop, int wait_ms)
{
    if (loop->gathers_io) {
        loop->gathers_io = false;
        loop->turn_io = turn_io_create();
    }
    wait_ms = wait_until_next_ms(loop, wait_ms);
    list_move_all(&loop->tasks, &loop->next_tasks);

    loop->clock_is_stale = true;
    poll_all(loop, wait_ms);
    if (loop->turn_io != NULL)
        turn_io_read(loop->turn_io);
    if (loop->has_messages) {
        loop_woke(loop);
        run_messages(loop);
    }
    loop->clock_is_stale = false;
    clock_refresh(&loop->clock);
    if (loop->woke_us == 0)
        loop->woke_us = loop->clock.now_us;
    timer_wheel_advance(&loop->timers, loop->clock.now_ms);
    run_tasks(loop);
    if (loop->turn_io != NULL)
        turn_io_flush(loop->turn_io);
}

void loop_gather_io(struct loop *loop)
{
    loop->gathers_io = true;
}

void loop_run(struct loop *loop)
{
    while (!atomic_exchange(&loop->stopping, false))
        loop_turn(loop, INT_MAX);
}

static void wake(struct loop *loop)
{
    uint64_t one = 1;

    while (write(loop->wake_fd, &one, sizeof(one)) == -1 && errno == EINTR)
        continue;
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stopping, true);
    wake(loop);
}

void loop_post_message(struct loop *loop, struct message *message)
{
    pthread_mutex_lock(&loop->mutex);
    bool was_empty = list_is_empty(&loop->messages);
    list_append(&loop->messages, &message->link);
    if (was_empty)
        wake(loop); /* under the mutex: once the message is run, its sender may end the loop */
    pthread_mutex_unlock(&loop->mutex);
}

static void run_post(struct message *message)
{
    struct post *post = CONTAINER_OF(message, struct post, message);
    void (*run)(void *) = post->run;
    void *arg = post->arg;

    mem_free(post);
    run(arg);
}

static void drop_post(struct message *message)
{
    mem_free(CONTAINER_OF(message, struct post, message));
}

void loop_post(struct loop *loop, void (*run)(void *arg), void *arg)
{
    struct post *post = mem_zeroed(sizeof(*post));

    post->message.run = run_post;
    post->message.drop = drop_post;
    post->run = run;
    post->arg = arg;
    loop_post_message(loop, &post->message);
}

const struct clock *loop_clock(const struct loop *loop)
{
    return &loop->clock;
}

const struct loop_counters *loop_counters(const struct loop *loop)
{
    return &loop->counters;
}

struct loop_counters *loop_counters_mutable(struct loop *loop)
{
    return &loop->counters;
}

void task_init(struct task *task, task_fn *run)
{
    list_init(&task->link);
    task->run = run;
}

void task_defer(struct loop *loop, struct task *task)
{
    list_unlink(&task->link); /* it may wait for the next turn; this one is sooner */
    list_append(&loop->tasks, &task->link);
}

void task_defer_soon(struct loop *loop, struct task *task)
{
    list_unlink(&task->link);
    list_append(&loop->soon_tasks, &task->link);
}

void task_defer_next(struct loop *loop, struct task *task)
{
    if (!list_is_linked(&task->link))
        list_append(&loop->next_tasks, &task->link);
}

void task_cancel(struct task *task)
{
    list_unlink(&task->link);
}

struct st_h2o_evloop_t *loop_evloop(struct loop *loop)
{
    return loop->evloop;
}

struct timer_wheel *loop_timers(struct loop *loop)
{
    return &loop->timers;
}

void loop_woke(struct loop *loop)
{
    if (!loop->clock_is_stale)
        return;
    loop->clock_is_stale = false;
    clock_refresh(&loop->clock);
    if (loop->woke_us == 0)
        loop->woke_us = loop->clock.now_us;
}

struct turn_io *loop_turn_io(const struct loop *loop)
{
    return loop->turn_io;
}

struct list *loop_watches(struct loop *loop)
{
    return &loop->watches;
}

struct buf *loop_scratch(struct loop *loop)
{
    return &loop->scratch;
}

void loop_add_resident(struct loop *loop, struct resident *resident)
{
    list_append(&loop->residents, &resident->link);
}

void loop_remove_resident(struct resident *resident)
{
    list_unlink(&resident->link);
}

struct lookup_queue *loop_lookups(struct loop *loop)
{
    return &loop->lookups;
}
