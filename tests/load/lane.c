/* tests/load/lane.c — one thread: a loop, its part of every load, and the clock that starts what is due. */
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "run.h"

enum { TURN_MS = 20, QUANTUM_US = 100 };

static const struct kind *const kinds[LOAD_KIND_COUNT] = {
    [LOAD_UNARY] = &kind_unary,   [LOAD_STREAM] = &kind_stream, [LOAD_ECHO] = &kind_echo,
    [LOAD_ATTACH] = &kind_attach, [LOAD_HTTP] = &kind_http,     [LOAD_WEBSOCKET] = &kind_websocket,
    [LOAD_STORM] = &kind_storm,
};

uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void count(struct tally *tally, enum outcome outcome, uint64_t taken_us)
{
    if (outcome == OUTCOME_OK) {
        tally->done++;
        hdr_record(&tally->latency, taken_us);
    } else {
        tally->ends[outcome]++;
    }
}

static void count_twice(struct run *run, uint64_t due_us, enum outcome outcome, bool is_kept)
{
    uint64_t now = now_us();
    uint64_t taken_us = now > due_us ? now - due_us : 0;

    count(&run->now, outcome, taken_us);
    if (is_kept)
        count(&run->kept, outcome, taken_us);
    if (outcome == OUTCOME_OK && due_us >= run->warm_us)
        run->kept.done_measured++;
}

void run_count_session(struct run *run, uint64_t due_us, enum outcome outcome)
{
    count_twice(run, due_us, outcome, true);
}

void run_count(struct run *run, uint64_t due_us, enum outcome outcome)
{
    count_twice(run, due_us, outcome, due_us >= run->warm_us);
}

void run_count_event(struct run *run, uint64_t taken_us)
{
    hdr_record(&run->now.events, taken_us);
    if (!run->is_finishing && now_us() >= run->warm_us)
        hdr_record(&run->kept.events, taken_us);
}

const struct identity *run_identity(const struct run *run, const struct identities *identities,
                                    uint64_t n)
{
    const struct scenario *s = run->lane->settings->scenario;
    uint64_t computer = run->load->computer;

    if (identities->count == 0 || run->load->auth == AUTH_NONE)
        return NULL;
    if (computer < s->computers && identities->is_minted)
        return &identities->items[n % s->sessions * s->computers +
                                  computer]; /* as identities_mint() lays them */
    return &identities->items[n % identities->count];
}

/* ---- what is due ---- */

static uint64_t fire(struct run *run, struct pacer *pacer,
                     void (*begin)(struct run *, uint64_t, uint64_t), uint64_t now)
{
    uint64_t due_us;

    while (begin != NULL && (due_us = pacer_due_us(pacer)) != UINT64_MAX) {
        uint64_t number = pacer->next;

        if (due_us > now)
            return due_us;
        pacer_step(pacer);
        hdr_record(&run->lane->lateness, now - due_us);
        run->now.started++;
        if (pacer == &run->openings || due_us >= run->warm_us)
            run->kept.started++;
        begin(run, number, due_us);
    }
    return UINT64_MAX;
}

static void fire_all(struct lane *lane)
{
    const struct settings *settings = lane->settings;
    uint64_t now = now_us(), next = UINT64_MAX;
    struct itimerspec alarm = { 0 };

    for (size_t i = 0; i < settings->scenario->load_count; i++) {
        struct run *run = &lane->runs[i];
        uint64_t opening, arrival;

        if (run->is_finishing)
            continue;
        opening = fire(run, &run->openings, run->kind->open, now);
        arrival = fire(run, &run->arrivals, run->kind->arrive, now);
        next = opening < next ? opening : next;
        next = arrival < next ? arrival : next;
    }
    if (next == UINT64_MAX)
        return;
    now = now_us();
    if (next < now + QUANTUM_US)
        next = now + QUANTUM_US;
    alarm.it_value.tv_sec = (time_t)(next / 1000000);
    alarm.it_value.tv_nsec = (long)(next % 1000000) * 1000;
    (void)timerfd_settime(watch_fd(lane->alarm), TFD_TIMER_ABSTIME, &alarm, NULL);
}

static void on_alarm(void *owner)
{
    struct lane *lane = owner;
    uint64_t count;

    if (read(watch_fd(lane->alarm), &count, sizeof(count)) > 0)
        fire_all(lane);
}

static const struct watch_events alarm_events = { .on_readable = on_alarm };

/* ---- seconds ---- */

static void tell_second(struct lane *lane)
{
    struct settings *settings = lane->settings;

    for (size_t i = 0; i < settings->scenario->load_count; i++) {
        struct run *run = &lane->runs[i];

        run->now.open = load_holds_sessions(run->load) ? run->held_count : run->busy_count;
        run->now.conns = run->pool != NULL ? pool_conn_count(run->pool) : run->busy_count;
        results_add(settings->results, i, lane->second, &run->now, &run->kept);
        run->now = run->kept = (struct tally){ 0 };
    }
    results_add_lateness(settings->results, &lane->lateness);
    lane->lateness = (struct hdr){ 0 };
    lane->second++;
}

static void tell_seconds(struct lane *lane)
{
    uint64_t now = now_us(), begin = lane->settings->begin_us;
    size_t second = now > begin ? (size_t)((now - begin) / 1000000) : 0;

    while (lane->second < second)
        tell_second(lane);
}

/* ---- life ---- */

static void run_start(struct run *run, struct lane *lane, size_t index)
{
    struct settings *settings = lane->settings;
    const struct scenario *scenario = settings->scenario;
    const struct load *load = &scenario->loads[index];
    uint64_t start_us = settings->begin_us + load->start_ms * 1000;
    uint64_t end_us = load->for_ms > 0 ? start_us + load->for_ms * 1000 : settings->end_us;

    *run = (struct run){ .lane = lane, .load = load, .index = index, .kind = kinds[load->kind] };
    run->endpoint = settings->has_secure && (load->tls || !settings->has_clear) ? &settings->secure
                                                                                : &settings->clear;
    run->warm_us = settings->begin_us + scenario->warmup_ms * 1000;
    list_init(&run->waiting);
    list_init(&run->flying);
    if (end_us > settings->end_us)
        end_us = settings->end_us;
    run->arrivals = (struct pacer){ .rate = load->rate,
                                    .ramp_s = (double)scenario->ramp_ms / 1000,
                                    .start_us = start_us,
                                    .end_us = end_us,
                                    .next = lane->index,
                                    .step = settings->lane_count };
    run->openings = run->arrivals;
    run->openings.ramp_s = 0;
    if (load->kind != LOAD_STORM)
        run->pool = pool_create(run);
    run->kind->start(run);
}

static void finish_runs(struct lane *lane)
{
    for (size_t i = 0; i < lane->settings->scenario->load_count; i++) {
        lane->runs[i].is_finishing = true;
        lane->runs[i].kind->finish(&lane->runs[i]);
    }
}

static bool is_idle(const struct lane *lane)
{
    for (size_t i = 0; i < lane->settings->scenario->load_count; i++)
        if (lane->runs[i].busy_count > 0)
            return false;
    return true;
}

static void run_end(struct run *run)
{
    while (!list_is_empty(&run->waiting))
        request_fail(LIST_FIRST(&run->waiting, struct request, link), OUTCOME_UNFINISHED);
    while (!list_is_empty(&run->flying))
        request_fail(LIST_FIRST(&run->flying, struct request, link), OUTCOME_UNFINISHED);
    pool_destroy(&run->pool);
    run->kind->destroy(run);
}

static void turns_until(struct lane *lane, uint64_t end_us, bool until_idle)
{
    struct settings *settings = lane->settings;

    while (now_us() < end_us && !(until_idle && is_idle(lane)) &&
           (until_idle || !atomic_load(&settings->stop))) {
        loop_turn(lane->loop, TURN_MS);
        tell_seconds(lane);
    }
}

static void *lane_main(void *arg)
{
    struct lane *lane = arg;
    struct settings *settings = lane->settings;
    size_t count = settings->scenario->load_count;

    for (size_t i = 0; i < count; i++)
        run_start(&lane->runs[i], lane, i);
    watch_read(lane->alarm, true);
    fire_all(lane);
    turns_until(lane, settings->end_us, false);
    finish_runs(lane);
    turns_until(lane, now_us() + settings->scenario->grace_ms * 1000, true);
    for (size_t i = 0; i < count; i++)
        run_end(&lane->runs[i]);
    for (int i = 0; i < 3; i++) /* what was put off to the end of a turn */
        loop_turn(lane->loop, 0);
    tell_second(lane);
    watch_destroy(&lane->alarm);
    loop_destroy(&lane->loop);
    return NULL;
}

bool lane_start(struct lane *lane, unsigned index, struct settings *settings)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    *lane = (struct lane){ .index = index, .settings = settings };
    if (fd == -1 || loop_create(&lane->loop) != STATUS_OK)
        return false;
    lane->alarm = watch_create(lane->loop, fd, &alarm_events, lane);
    return pthread_create(&lane->thread, NULL, lane_main, lane) == 0;
}
