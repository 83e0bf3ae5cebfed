/* tests/load/phases.c — see the header. */
#include "phases.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "report.h"

enum { LEAD_US = 300000, LOOK_US = 50000 };

static struct settings *running; /* for the signal handler */

static void on_signal(int number)
{
    (void)number;
    atomic_store(&running->stop, true);
}

/* ---- the gateway's process and our own ---- */

struct watching {
    const struct facts_source *source;
    struct results *results;
    uint64_t warm_us;   /* when what counts begins */
    bool is_measuring;  /* that is over */
    bool is_gateway_ok; /* known when it began */
    struct facts first, last;
    double client_first_s, client_last_s;
    size_t second;
    uint64_t last_us;
};

static void watch_begin(struct watching *w, const struct settings *settings)
{
    w->warm_us = settings->begin_us + settings->scenario->warmup_ms * 1000;
    w->last_us = settings->begin_us;
    w->client_last_s = facts_client_cpu_s();
    w->results->gateway_is_known = facts_read(w->source, &w->last);
    w->results->gateway_rss_start_mib = w->results->gateway_rss_peak_mib = w->last.rss_mib;
}

/* The CPU time of the warm-up, and of opening the connections, is not that of the calls which count. */
static void watch_measure(struct watching *w)
{
    w->is_measuring = true;
    w->client_first_s = facts_client_cpu_s();
    w->is_gateway_ok = facts_read(w->source, &w->first);
}

static void watch_second(struct watching *w)
{
    struct results *r = w->results;
    struct facts now;
    uint64_t at_us = now_us();
    double seconds = (double)(at_us - w->last_us) / 1e6, client_s = facts_client_cpu_s();
    struct facts_second *at =
        &r->facts[w->second < r->second_count ? w->second : r->second_count - 1];

    w->second++;
    w->last_us = at_us;
    at->client_cores = (client_s - w->client_last_s) / seconds;
    w->client_last_s = client_s;
    if (!r->gateway_is_known || !facts_read(w->source, &now))
        return;
    *at = (struct facts_second){ (now.cpu_s - w->last.cpu_s) / seconds, at->client_cores,
                                 now.rss_mib, true };
    if (now.rss_mib > r->gateway_rss_peak_mib)
        r->gateway_rss_peak_mib = now.rss_mib;
    w->last = now;
}

static void watch_end(struct watching *w)
{
    struct results *r = w->results;
    struct facts now;
    uint64_t at_us = now_us();

    if (!w->is_measuring) /* ended in the warm-up */
        return;
    r->measured_s = (double)(at_us - w->warm_us) / 1e6;
    r->client_cpu_s = facts_client_cpu_s() - w->client_first_s;
    if (w->is_gateway_ok && facts_read(w->source, &now))
        r->gateway_cpu_s = now.cpu_s - w->first.cpu_s;
}

/* ---- lanes ---- */

static bool lanes_start(struct lane *lanes, struct settings *settings, unsigned *out_started)
{
    for (*out_started = 0; *out_started < settings->lane_count; (*out_started)++)
        if (!lane_start(&lanes[*out_started], *out_started, settings))
            return false;
    return true;
}

static bool lanes_are_done(struct lane *lanes, unsigned count, unsigned *done)
{
    while (*done < count && pthread_tryjoin_np(lanes[*done].thread, NULL) == 0)
        (*done)++;
    return *done == count;
}

static void sleep_until(uint64_t at_us)
{
    struct timespec at = { (time_t)(at_us / 1000000), (long)(at_us % 1000000) * 1000 };

    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* A line a second, a moment after its end, when the lanes have told it. */
static void follow(struct settings *settings, struct watching *w, struct lane *lanes)
{
    struct results *results = w->results;
    bool is_terminal = isatty(STDOUT_FILENO) == 1;
    size_t shown = 0;
    unsigned done = 0;

    while (!lanes_are_done(lanes, settings->lane_count, &done)) {
        uint64_t second_us = settings->begin_us + (w->second + 1) * 1000000;
        uint64_t until_us = now_us() + LOOK_US;

        until_us = second_us < until_us ? second_us : until_us;
        until_us = !w->is_measuring && w->warm_us < until_us ? w->warm_us : until_us;
        sleep_until(until_us);
        if (!w->is_measuring && now_us() >= w->warm_us)
            watch_measure(w);
        if (now_us() >= second_us)
            watch_second(w);
        pthread_mutex_lock(&results->lock);
        for (; shown < w->second && shown < results->complete_count; shown++)
            report_progress(results, shown, is_terminal);
        pthread_mutex_unlock(&results->lock);
    }
}

static void take_signals(struct settings *settings)
{
    struct sigaction action = { .sa_handler = on_signal,
                                .sa_flags = (int)SA_RESETHAND }; /* a second one ends at once */

    running = settings;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int phases_run(struct settings *settings, struct results *results,
               const struct facts_source *source)
{
    struct lane *lanes = mem_zeroed(settings->lane_count * sizeof(*lanes));
    struct watching w = { .source = source, .results = results };
    unsigned started;
    bool is_whole;

    take_signals(settings);
    settings->results = results;
    settings->begin_us = now_us() + LEAD_US; /* connections open meanwhile */
    settings->end_us = settings->begin_us + settings->scenario->duration_ms * 1000;
    watch_begin(&w, settings);
    is_whole = lanes_start(lanes, settings, &started);
    if (is_whole) {
        follow(settings, &w, lanes);
        results->ran_s = (double)(now_us() - settings->begin_us) / 1e6;
        if (now_us() > w.last_us + 1000)
            watch_second(&w);
        watch_end(&w);
        results_close(results);
    } else {
        complain("no thread or no descriptor left");
        atomic_store(&settings->stop, true);
        while (started > 0)
            pthread_join(lanes[--started].thread, NULL);
    }
    mem_free(lanes);
    return is_whole ? EXIT_PASSED : EXIT_FAILED;
}
