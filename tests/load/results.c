/* tests/load/results.c — see the header. */
#include "results.h"

#include "base/mem.h"

enum { TAIL_SECONDS = 30 };

void results_init(struct results *results, const struct scenario *scenario, unsigned lane_count)
{
    *results =
        (struct results){ .scenario = scenario, .lane_count = lane_count, .gateway_cpu_s = -1 };
    pthread_mutex_init(&results->lock, NULL);
    results->second_count =
        (size_t)((scenario->duration_ms + scenario->grace_ms) / 1000) + TAIL_SECONDS;
    results->facts = mem_zeroed(results->second_count * sizeof(*results->facts));
    for (size_t i = 0; i < scenario->load_count; i++)
        results->seconds[i] = mem_zeroed(results->second_count * sizeof(struct second));
}

void results_deinit(struct results *results)
{
    for (size_t i = 0; i < results->scenario->load_count; i++) {
        for (size_t s = 0; s < results->second_count; s++)
            mem_free(results->seconds[i][s].parts);
        mem_free(results->seconds[i]);
    }
    mem_free(results->facts);
    pthread_mutex_destroy(&results->lock);
}

static void complete(struct second *second)
{
    const struct tally *all = second->parts;

    second->started = all->started;
    second->done = all->done;
    second->errors = tally_errors(all);
    second->bytes_in = all->bytes_in;
    second->bytes_out = all->bytes_out;
    second->open = all->open;
    second->conns = all->conns;
    second->latencies = all->latency.count;
    second->events = all->events.count;
    second->p50_us = hdr_quantile_us(&all->latency, 0.5);
    second->p90_us = hdr_quantile_us(&all->latency, 0.9);
    second->p99_us = hdr_quantile_us(&all->latency, 0.99);
    second->max_us = all->latency.max_us;
    second->event_p50_us = hdr_quantile_us(&all->events, 0.5);
    second->event_p99_us = hdr_quantile_us(&all->events, 0.99);
    second->event_max_us = all->events.max_us;
    mem_free(second->parts);
    second->parts = NULL;
}

void results_add(struct results *results, size_t load, size_t second, const struct tally *part,
                 const struct tally *kept)
{
    struct second *at;

    if (second >= results->second_count)
        second = results->second_count - 1;
    at = &results->seconds[load][second];
    pthread_mutex_lock(&results->lock);
    tally_merge(&results->totals[load], kept);
    if (at->lanes < results->lane_count) {
        if (at->parts == NULL)
            at->parts = mem_zeroed(sizeof(*at->parts));
        tally_merge(at->parts, part);
        if (++at->lanes == results->lane_count) {
            complete(at);
            if (load + 1 == results->scenario->load_count && results->complete_count < second + 1)
                results->complete_count = second + 1;
        }
    }
    pthread_mutex_unlock(&results->lock);
}

void results_add_lateness(struct results *results, const struct hdr *part)
{
    pthread_mutex_lock(&results->lock);
    hdr_merge(&results->lateness, part);
    pthread_mutex_unlock(&results->lock);
}

void results_close(struct results *results)
{
    for (size_t i = 0; i < results->scenario->load_count; i++)
        for (size_t s = 0; s < results->second_count; s++)
            if (results->seconds[i][s].parts != NULL)
                complete(&results->seconds[i][s]);
    /* a part of a second would look like a fall */
    results->complete_count = (size_t)results->ran_s;
    if (results->complete_count > results->second_count)
        results->complete_count = results->second_count;
}
