/* watchdog.c — see watchdog.h. Time is counted in looks, not in milliseconds: after a pause of the
 * whole process the workers get their full time again. */
#include "watchdog.h"

#include <execinfo.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/timer.h"
#include "worker.h"

enum { LOOK_MS = 500, FRAMES_MAX = 64, LAST_WORDS_MS = 1000 };

struct watched {
    uint64_t beats;
    uint64_t still_looks;
};

struct watchdog {
    struct timer look;
    struct worker *const *workers;
    const pthread_t *threads;
    struct watched *watched;
    size_t count;
    uint64_t limit_ms;
};

/* On the thread that stands still. backtrace() is not async-signal-safe in every case; the process
 * ends here anyway, and watchdog_create() has loaded what it needs. */
static void on_last_words(int signal_number)
{
    void *frames[FRAMES_MAX];
    int count = backtrace(frames, FRAMES_MAX);

    (void)signal_number;
    backtrace_symbols_fd(frames, count, STDERR_FILENO);
    abort();
}

static void end_process(const struct watchdog *watchdog, size_t worker)
{
    log_error("watchdog: a worker's loop stands still, the process ends worker=%zu limit_ms=%llu; "
              "its stack follows",
              worker, (unsigned long long)watchdog->limit_ms);
    (void)pthread_kill(watchdog->threads[worker], SIGSYS);
    usleep(LAST_WORDS_MS * 1000);
    abort(); /* it cannot even take a signal */
}

static void on_look(struct timer *timer)
{
    struct watchdog *watchdog = CONTAINER_OF(timer, struct watchdog, look);

    timer_arm(&watchdog->look, LOOK_MS);
    for (size_t i = 0; i < watchdog->count; i++) {
        struct watched *watched = &watchdog->watched[i];
        uint64_t beats = worker_beats(watchdog->workers[i]);

        watched->still_looks = beats == watched->beats ? watched->still_looks + 1 : 0;
        watched->beats = beats;
        if (watchdog->limit_ms > 0 && watched->still_looks * LOOK_MS >= watchdog->limit_ms)
            end_process(watchdog, i);
    }
}

struct watchdog *watchdog_create(struct loop *loop, struct worker *const *workers,
                                 const pthread_t *threads, size_t count, uint64_t limit_ms)
{
    struct watchdog *watchdog = mem_zeroed(sizeof(*watchdog));
    struct sigaction action = { .sa_handler = on_last_words, .sa_flags = (int)SA_RESETHAND };
    void *frame;

    (void)backtrace(&frame, 1); /* loads libgcc now, not in the handler */
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGSYS, &action, NULL);
    watchdog->workers = workers;
    watchdog->threads = threads;
    watchdog->count = count;
    watchdog->watched = mem_zeroed(count * sizeof(*watchdog->watched));
    watchdog->limit_ms = limit_ms;
    timer_init(&watchdog->look, loop, on_look);
    timer_arm(&watchdog->look, LOOK_MS);
    return watchdog;
}

void watchdog_set_limit(struct watchdog *watchdog, uint64_t limit_ms)
{
    watchdog->limit_ms = limit_ms;
}

void watchdog_destroy(struct watchdog **watchdog)
{
    struct watchdog *w = *watchdog;

    *watchdog = NULL;
    if (w == NULL)
        return;
    timer_cancel(&w->look);
    mem_free(w->watched);
    mem_free(w);
}
