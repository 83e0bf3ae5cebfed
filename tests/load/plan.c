/* tests/load/plan.c — see the header. */
#include "plan.h"

#include <math.h>
#include <stdio.h>

#include "verdict.h"

static uint64_t at_most(uint64_t value, uint64_t most)
{
    return value < most ? value : most;
}

/* The scenario in three seconds, small enough for a sanitized build on a busy machine. Its thresholds are not asked. */
static void make_smoke(struct scenario *s)
{
    s->duration_ms = 3000;
    s->ramp_ms = s->warmup_ms = 0;
    s->grace_ms = 10000;
    s->threshold_count = 0;
    for (size_t i = 0; i < s->load_count; i++) {
        struct load *load = &s->loads[i];

        load->start_ms = load->for_ms = 0;
        load->open_ms = 500;
        load->rate = load->rate < 20 ? load->rate : 20;
        load->connections = at_most(load->connections, load->kind == LOAD_STORM ? 100 : 4);
        load->sessions = at_most(load->sessions, 5);
        load->groups = at_most(load->groups, 2);
        load->timeout_ms = 10000;
    }
}

/* Over HTTP/1.1 a session has a connection of its own, an echo's input one more. */
static void fit_connections(struct load *load)
{
    uint64_t needed = load->kind == LOAD_ATTACH ? load->groups * (1 + load->sessions)
                      : load->kind == LOAD_ECHO ? load->sessions * 2 + 1
                                                : load->sessions;

    if (load->protocol == PROTOCOL_H1 && load_holds_sessions(load) && load->connections < needed)
        load->connections = needed;
}

int plan_read(const struct options *options, struct scenario *s)
{
    struct buf words = { 0 };
    enum status status = scenario_read(options->scenario, s, &words);
    const char *duration = options->duration;

    if (status != STATUS_OK)
        complain("%s", buf_text(&words));
    buf_deinit(&words);
    if (status != STATUS_OK)
        return EXIT_USAGE;
    if (duration != NULL &&
        (!scenario_duration(duration, &s->duration_ms) || s->duration_ms <= s->warmup_ms))
        return complain("--duration: expected a duration longer than the warm-up, got \"%s\"",
                        duration);
    if (options->smoke)
        make_smoke(s);
    for (size_t i = 0; i < s->load_count; i++) {
        s->loads[i].rate *= options->scale;
        s->loads[i].sessions = (uint64_t)ceil((double)s->loads[i].sessions * options->scale);
        fit_connections(&s->loads[i]);
    }
    return EXIT_PASSED;
}

bool plan_smoke_passed(const struct results *results)
{
    bool passed = true;

    for (size_t i = 0; i < results->scenario->load_count; i++) {
        const struct tally *t = &results->totals[i];
        bool needs_events = results->scenario->loads[i].kind == LOAD_STREAM;

        if (t->done > 0 && tally_errors(t) == 0 && (!needs_events || t->events.count > 0))
            continue;
        printf("FAIL  %s\n", results->scenario->loads[i].name);
        passed = false;
    }
    return passed;
}

int plan_check_thresholds(const struct options *options, const struct results *results)
{
    const struct scenario *s = results->scenario;
    double value;

    for (size_t i = 0; i < s->threshold_count; i++) {
        const struct threshold *t = &s->thresholds[i];
        if (!verdict_number(results, t->load, t->metric, &value))
            return complain("%s: thresholds: there is no number %s.%s", options->scenario, t->load,
                            t->metric);
    }
    return EXIT_PASSED;
}
