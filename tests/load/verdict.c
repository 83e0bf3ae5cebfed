/* tests/load/verdict.c — see the header. */
#include "verdict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct number {
    const char *name;
    double value;
};

static bool pick(const struct number *numbers, size_t count, const char *name, double *out)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(numbers[i].name, name) == 0) {
            *out = numbers[i].value;
            return true;
        }
    }
    return false;
}

static double ms_at(const struct hdr *hdr, double ratio)
{
    return hdr->count > 0 ? (double)hdr_quantile_us(hdr, ratio) / 1000 : NAN;
}

static double mean_ms(const struct hdr *hdr)
{
    return hdr->count > 0 ? (double)hdr->sum_us / (double)hdr->count / 1000 : NAN;
}

static uint64_t most_open(const struct results *results, size_t load)
{
    uint64_t most = 0;

    for (size_t i = 0; i < results->complete_count; i++)
        most = results->seconds[load][i].open > most ? results->seconds[load][i].open : most;
    return most;
}

/* How long the load was asked for something that counts. */
static double counted_span_s(const struct results *results, const struct load *load)
{
    const struct scenario *s = results->scenario;
    double start = (double)(load->start_ms > s->warmup_ms ? load->start_ms : s->warmup_ms) / 1000;
    double end = (double)s->duration_ms / 1000;

    if (load->for_ms > 0 && (double)(load->start_ms + load->for_ms) / 1000 < end)
        end = (double)(load->start_ms + load->for_ms) / 1000;
    if (results->ran_s < end)
        end = results->ran_s; /* stopped early */
    return end - start;
}

static bool load_number(const struct results *results, size_t load, const char *metric, double *out)
{
    const struct tally *t = &results->totals[load];
    const struct scenario *s = results->scenario;
    double errors = (double)tally_errors(t), all = (double)t->done + errors;
    double counted_s = counted_span_s(results, &s->loads[load]);
    const struct number numbers[] = {
        { "started", (double)t->started },
        { "done", (double)t->done },
        { "errors", errors },
        { "error_ratio", all > 0 ? errors / all : NAN },
        { "rate", counted_s > 0 ? (double)t->done / counted_s : NAN },
        { "events", (double)t->events.count },
        { "event_rate", counted_s > 0 ? (double)t->events.count / counted_s : NAN },
        { "open_max", (double)most_open(results, load) },
        { "mean_ms", mean_ms(&t->latency) },
        { "p50_ms", ms_at(&t->latency, 0.5) },
        { "p90_ms", ms_at(&t->latency, 0.9) },
        { "p99_ms", ms_at(&t->latency, 0.99) },
        { "p999_ms", ms_at(&t->latency, 0.999) },
        { "max_ms", ms_at(&t->latency, 1) },
        { "event_p50_ms", ms_at(&t->events, 0.5) },
        { "event_p99_ms", ms_at(&t->events, 0.99) },
        { "event_p999_ms", ms_at(&t->events, 0.999) },
        { "event_max_ms", ms_at(&t->events, 1) },
    };

    return pick(numbers, sizeof(numbers) / sizeof(numbers[0]), metric, out);
}

uint64_t verdict_work(const struct results *results)
{
    uint64_t work = 0;

    for (size_t i = 0; i < results->scenario->load_count; i++)
        work += results->totals[i].done_measured + results->totals[i].events.count;
    return work;
}

static bool process_number(const struct results *results, const char *load, const char *metric,
                           double *out)
{
    bool is_known = results->gateway_is_known, is_measured = results->gateway_cpu_s >= 0;
    double measured_s = results->measured_s > 0 ? results->measured_s : NAN;
    double work = (double)verdict_work(results);
    const struct number gateway[] = {
        { "cpu_s", is_measured ? results->gateway_cpu_s : NAN },
        { "cores", is_measured ? results->gateway_cpu_s / measured_s : NAN },
        { "cpu_us_per_call", is_measured && work > 0 ? results->gateway_cpu_s * 1e6 / work : NAN },
        { "rss_max_mib", is_known ? results->gateway_rss_peak_mib : NAN },
        { "rss_growth_mib",
          is_known ? results->gateway_rss_peak_mib - results->gateway_rss_start_mib : NAN },
    };
    const struct number client[] = {
        { "cores", results->client_cpu_s / measured_s },
        { "late_p99_ms", ms_at(&results->lateness, 0.99) },
        { "late_max_ms", ms_at(&results->lateness, 1) },
    };

    if (strcmp(load, "gateway") == 0)
        return pick(gateway, sizeof(gateway) / sizeof(gateway[0]), metric, out);
    return strcmp(load, "client") == 0 &&
           pick(client, sizeof(client) / sizeof(client[0]), metric, out);
}

bool verdict_number(const struct results *results, const char *load, const char *metric,
                    double *out)
{
    for (size_t i = 0; i < results->scenario->load_count; i++)
        if (strcmp(results->scenario->loads[i].name, load) == 0)
            return load_number(results, i, metric, out);
    return process_number(results, load, metric, out);
}

bool verdict_holds(const struct results *results, const struct threshold *t, double *out_value)
{
    *out_value = NAN;
    if (!verdict_number(results, t->load, t->metric, out_value))
        return false;
    if (t->compare[0] == '<')
        return t->compare[1] == '=' ? *out_value <= t->bound : *out_value < t->bound;
    return t->compare[1] == '=' ? *out_value >= t->bound : *out_value > t->bound;
}
