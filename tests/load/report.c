/* tests/load/report.c — see the header. */
#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"

extern const char
    report_page[]; /* report.html, made into C by CMake; it holds the place of the data once */
extern const size_t report_page_bytes;

static const char data_mark[] = "/*DATA*/null";

static const char *const load_metrics[] = {
    "started",      "done",          "errors",       "error_ratio", "rate",
    "events",       "event_rate",    "open_max",     "mean_ms",     "p50_ms",
    "p90_ms",       "p99_ms",        "p999_ms",      "max_ms",      "event_p50_ms",
    "event_p99_ms", "event_p999_ms", "event_max_ms", NULL,
};
static const char *const gateway_metrics[] = { "cpu_s",       "cores",          "cpu_us_per_call",
                                               "rss_max_mib", "rss_growth_mib", NULL };
static const char *const client_metrics[] = { "cores", "late_p99_ms", "late_max_ms", NULL };

static void put_number(struct buf *into, double value)
{
    if (isfinite(value))
        buf_printf(into, "%.6g", value);
    else
        buf_append(into, SLICE("null"));
}

static void put_text(struct buf *into, const char *name, const char *text)
{
    buf_printf(into, "\"%s\":\"", name);
    buf_append_json_text(into, slice_from_string(text));
    buf_append(into, SLICE("\""));
}

static void put_metrics(struct buf *into, const struct results *results, const char *of,
                        const char *const *names)
{
    buf_append(into, SLICE("{"));
    for (size_t i = 0; names[i] != NULL; i++) {
        double value = NAN;
        (void)verdict_number(results, of, names[i], &value);
        buf_printf(into, "%s\"%s\":", i > 0 ? "," : "", names[i]);
        put_number(into, value);
    }
    buf_append(into, SLICE("}"));
}

static void put_errors(struct buf *into, const struct tally *tally)
{
    const char *comma = "";

    buf_append(into, SLICE("{"));
    for (unsigned i = 1; i < OUTCOME_COUNT; i++) {
        if (tally->ends[i] > 0) {
            buf_printf(into, "%s\"%s\":%llu", comma, outcome_text(i),
                       (unsigned long long)tally->ends[i]);
            comma = ",";
        }
    }
    buf_append(into, SLICE("}"));
}

/* [[ratio, ms] …], finer toward the tail. */
static void put_distribution(struct buf *into, const struct hdr *hdr)
{
    buf_append(into, SLICE("["));
    for (unsigned i = 0; i <= 48 && hdr->count > 0; i++) { /* half a bit a step: 1 - 2^(-i/2) */
        double ratio = i == 48 ? 1 : 1 - exp2(-(double)i / 2);
        if (ratio < 1 && (1 - ratio) * (double)hdr->count < 1)
            continue;
        buf_printf(into, "%s[%.7f,%.3f]", i > 0 ? "," : "", ratio,
                   (double)hdr_quantile_us(hdr, ratio) / 1000);
    }
    buf_append(into, SLICE("]"));
}

/* The series' members in order; report.html reads them by place. */
static void put_series(struct buf *into, const struct results *results, size_t load)
{
    buf_append(into, SLICE("\"series\":{\"columns\":[\"started\",\"done\",\"errors\",\"open\","
                           "\"connections\",\"bytes_in\",\"bytes_out\","
                           "\"p50_ms\",\"p90_ms\",\"p99_ms\",\"max_ms\",\"events\",\"event_p50_"
                           "ms\",\"event_p99_ms\",\"event_max_ms\"],\"rows\":["));
    for (size_t i = 0; i < results->complete_count; i++) {
        const struct second *s = &results->seconds[load][i];
        buf_printf(into, "%s[%llu,%llu,%llu,%llu,%llu,%llu,%llu,", i > 0 ? "," : "",
                   (unsigned long long)s->started, (unsigned long long)s->done,
                   (unsigned long long)s->errors, (unsigned long long)s->open,
                   (unsigned long long)s->conns, (unsigned long long)s->bytes_in,
                   (unsigned long long)s->bytes_out);
        if (s->latencies > 0)
            buf_printf(into, "%.3f,%.3f,%.3f,%.3f,", s->p50_us / 1e3, s->p90_us / 1e3,
                       s->p99_us / 1e3, s->max_us / 1e3);
        else
            buf_append(into, SLICE("null,null,null,null,"));
        if (s->events > 0)
            buf_printf(into, "%llu,%.3f,%.3f,%.3f]", (unsigned long long)s->events,
                       s->event_p50_us / 1e3, s->event_p99_us / 1e3, s->event_max_us / 1e3);
        else
            buf_append(into, SLICE("0,null,null,null]"));
    }
    buf_append(into, SLICE("]}"));
}

static void put_load(struct buf *into, const struct results *results, size_t index)
{
    const struct load *load = &results->scenario->loads[index];

    buf_append(into, SLICE("{"));
    put_text(into, "name", load->name);
    buf_printf(into,
               ",\"kind\":\"%s\",\"protocol\":\"%s\",\"tls\":%s,\"connections\":%llu,\"sessions\":%"
               "llu,\"rate_asked\":%g,\"numbers\":",
               load_kind_text((enum load_kind)load->kind),
               load->protocol == PROTOCOL_H2 ? "h2" : "h1", load->tls ? "true" : "false",
               (unsigned long long)load->connections, (unsigned long long)load->sessions,
               load->rate);
    put_metrics(into, results, load->name, load_metrics);
    buf_append(into, SLICE(",\"errors_by_code\":"));
    put_errors(into, &results->totals[index]);
    buf_append(into, SLICE(",\"distribution\":"));
    put_distribution(into, &results->totals[index].latency);
    buf_append(into, SLICE(",\"event_distribution\":"));
    put_distribution(into, &results->totals[index].events);
    buf_append(into, SLICE(","));
    put_series(into, results, index);
    buf_append(into, SLICE("}"));
}

static void put_thresholds(struct buf *into, const struct results *results)
{
    const struct scenario *s = results->scenario;

    for (size_t i = 0; i < s->threshold_count; i++) {
        double value;
        bool holds = verdict_holds(results, &s->thresholds[i], &value);

        buf_append(into, i > 0 ? SLICE(",{") : SLICE("{"));
        put_text(into, "threshold", s->thresholds[i].text);
        buf_append(into, SLICE(",\"value\":"));
        put_number(into, value);
        buf_printf(into, ",\"holds\":%s}", holds ? "true" : "false");
    }
}

static void put_process(struct buf *into, const struct results *results)
{
    buf_append(into, SLICE("\"gateway\":"));
    put_metrics(into, results, "gateway", gateway_metrics);
    buf_append(into, SLICE(",\"client\":"));
    put_metrics(into, results, "client", client_metrics);
    buf_append(into, SLICE(",\"process_series\":{\"columns\":[\"gateway_cores\",\"gateway_rss_"
                           "mib\",\"client_cores\"],\"rows\":["));
    for (size_t i = 0; i < results->complete_count; i++) {
        const struct facts_second *f = &results->facts[i];
        if (f->known)
            buf_printf(into, "%s[%.3f,%.2f,%.3f]", i > 0 ? "," : "", f->cores, f->rss_mib,
                       f->client_cores);
        else
            buf_printf(into, "%s[null,null,%.3f]", i > 0 ? "," : "", f->client_cores);
    }
    buf_append(into, SLICE("]}"));
}

static void put_report(struct buf *into, const struct results *results,
                       const struct report_facts *facts)
{
    const struct scenario *s = results->scenario;
    char when[32];
    struct tm utc;
    time_t at = (time_t)facts->started_wall_s;

    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &utc));
    buf_append(into, SLICE("{"));
    put_text(into, "scenario", s->name);
    buf_append(into, SLICE(","));
    put_text(into, "about", s->about);
    buf_append(into, SLICE(","));
    put_text(into, "target", facts->target);
    buf_append(into, SLICE(","));
    put_text(into, "note", facts->note);
    buf_printf(into,
               ",\"started\":\"%s\",\"version\":\"%s\",\"ran_s\":%.3f,\"warmup_s\":%g,\"ramp_s\":%"
               "g,\"threads\":%u,\"stopped_early\":%s,\"passed\":%s,"
               "\"thresholds\":[",
               when, GATEWAY_VERSION, results->ran_s, (double)s->warmup_ms / 1000,
               (double)s->ramp_ms / 1000, results->lane_count,
               facts->was_stopped ? "true" : "false", report_passed(results) ? "true" : "false");
    put_thresholds(into, results);
    buf_append(into, SLICE("],"));
    put_process(into, results);
    buf_append(into, SLICE(",\"loads\":["));
    for (size_t i = 0; i < s->load_count; i++) {
        if (i > 0)
            buf_append(into, SLICE(","));
        put_load(into, results, i);
    }
    buf_append(into, SLICE("]}"));
}

bool report_passed(const struct results *results)
{
    double value;

    for (size_t i = 0; i < results->scenario->threshold_count; i++)
        if (!verdict_holds(results, &results->scenario->thresholds[i], &value))
            return false;
    return true;
}

static bool write_parts(const char *file, const struct slice *parts, size_t count)
{
    FILE *output = fopen(file, "we");
    bool is_good = output != NULL;

    for (size_t i = 0; i < count && is_good; i++)
        is_good = fwrite(parts[i].ptr, 1, parts[i].len, output) == parts[i].len;
    if (output != NULL && fclose(output) != 0)
        is_good = false;
    if (!is_good)
        fprintf(stderr, "exec-load: %s: %s\n", file, strerror(errno));
    return is_good;
}

bool report_write_json(const char *file, const struct results *results,
                       const struct report_facts *facts)
{
    struct buf json = { 0 };
    bool is_good;

    put_report(&json, results, facts);
    buf_append(&json, SLICE("\n"));
    is_good = write_parts(file, &(struct slice){ buf_slice(&json).ptr, json.len }, 1);
    buf_deinit(&json);
    return is_good;
}

/* "</script>" in a name may not end the page's script. */
static void escape_script(struct slice json, struct buf *into)
{
    for (size_t at = slice_find(json, '<'); json.len > 0; at = slice_find(json, '<')) {
        buf_append(into, slice_first(json, at));
        if (at < json.len)
            buf_append(into, SLICE("\\u003c"));
        json = slice_skip(json, at < json.len ? at + 1 : at);
    }
}

bool report_write_html(const char *file, const struct results *results,
                       const struct report_facts *facts)
{
    const char *mark = memmem(report_page, report_page_bytes, data_mark, sizeof(data_mark) - 1);
    struct buf json = { 0 }, safe = { 0 };
    size_t before;
    bool is_good;

    ENSURE(mark != NULL);
    before = (size_t)(mark - report_page);
    put_report(&json, results, facts);
    escape_script(buf_slice(&json), &safe);
    const struct slice parts[] = { slice_of(report_page, before), buf_slice(&safe),
                                   slice_of(mark + sizeof(data_mark) - 1,
                                            report_page_bytes - before - (sizeof(data_mark) - 1)) };
    is_good = write_parts(file, parts, 3);
    buf_deinit(&json);
    buf_deinit(&safe);
    return is_good;
}

/* ---- the terminal ---- */

/* With many loads the line keeps to the rate and the tail. */
static void print_load_second(const struct load *load, const struct second *s, bool is_short)
{
    if (is_short && s->started + s->done + s->errors + s->events == 0)
        return;
    printf("  %s %llu/s", load->name,
           (unsigned long long)(is_short && s->events > s->done ? s->events : s->done));
    if (load_holds_sessions(load))
        printf(" open %llu", (unsigned long long)s->open);
    if (is_short)
        printf(" p99 %.1f", (s->events > s->done ? s->event_p99_us : s->p99_us) / 1e3);
    else if (s->latencies > 0)
        printf(" p50 %.2f p99 %.2f", s->p50_us / 1e3, s->p99_us / 1e3);
    if (s->events > 0 && !is_short)
        printf(" events %llu/s p50 %.2f p99 %.2f", (unsigned long long)s->events,
               s->event_p50_us / 1e3, s->event_p99_us / 1e3);
    if (s->errors > 0)
        printf(" ERRORS %llu", (unsigned long long)s->errors);
    fputs(" |", stdout);
}

void report_progress(const struct results *results, size_t second, bool is_terminal)
{
    const struct facts_second *f = &results->facts[second];

    printf("%s%4zus", is_terminal ? "\r\033[K" : "", second + 1);
    for (size_t i = 0; i < results->scenario->load_count; i++)
        print_load_second(&results->scenario->loads[i], &results->seconds[i][second],
                          results->scenario->load_count > 2);
    if (f->known)
        printf("  gateway %.2f cores %.0f MiB", f->cores, f->rss_mib);
    printf("  client %.2f cores\n", f->client_cores);
    fflush(stdout);
}

static void print_load(const struct results *results, size_t index)
{
    const struct load *load = &results->scenario->loads[index];
    const struct tally *t = &results->totals[index];
    double rate = NAN;

    (void)verdict_number(results, load->name, "rate", &rate);
    printf("%-14s %10llu %9llu %9.1f", load->name, (unsigned long long)t->done,
           (unsigned long long)tally_errors(t), rate);
    if (t->latency.count > 0)
        printf("  p50 %9.3f  p90 %9.3f  p99 %9.3f  p99.9 %9.3f  max %9.3f ms",
               hdr_quantile_us(&t->latency, .5) / 1e3, hdr_quantile_us(&t->latency, .9) / 1e3,
               hdr_quantile_us(&t->latency, .99) / 1e3, hdr_quantile_us(&t->latency, .999) / 1e3,
               t->latency.max_us / 1e3);
    puts("");
    if (t->events.count > 0)
        printf("%-14s %10llu %19s  p50 %9.3f  p90 %9.3f  p99 %9.3f  p99.9 %9.3f  max %9.3f ms\n",
               "  events", (unsigned long long)t->events.count, "",
               hdr_quantile_us(&t->events, .5) / 1e3, hdr_quantile_us(&t->events, .9) / 1e3,
               hdr_quantile_us(&t->events, .99) / 1e3, hdr_quantile_us(&t->events, .999) / 1e3,
               t->events.max_us / 1e3);
    for (unsigned i = 1; i < OUTCOME_COUNT; i++)
        if (t->ends[i] > 0)
            printf("  %-22s %llu\n", outcome_text(i), (unsigned long long)t->ends[i]);
}

static void print_processes(const struct results *results)
{
    double per_call = NAN;

    (void)verdict_number(results, "gateway", "cpu_us_per_call", &per_call);
    if (results->gateway_cpu_s >= 0)
        printf("gateway        %.2f CPU s in the %.1f s that count: %.1f us per call and event\n",
               results->gateway_cpu_s, results->measured_s, per_call);
    if (results->gateway_is_known)
        printf("gateway        %.1f MiB at most (%.1f at the start)\n",
               results->gateway_rss_peak_mib, results->gateway_rss_start_mib);
    printf(
        "client         %.2f CPU s in the same time; started what was due within %.2f ms (p99)\n",
        results->client_cpu_s, hdr_quantile_us(&results->lateness, .99) / 1e3);
}

void report_summary(const struct results *results)
{
    const struct scenario *s = results->scenario;

    printf("\n%s: %.1f s\n%-14s %10s %9s %9s\n", s->name, results->ran_s, "load", "done", "errors",
           "a second");
    for (size_t i = 0; i < s->load_count; i++)
        print_load(results, i);
    print_processes(results);
    for (size_t i = 0; i < s->threshold_count; i++) {
        double value;
        bool holds = verdict_holds(results, &s->thresholds[i], &value);
        printf("%s  %-40s %.4g\n", holds ? "pass" : "FAIL", s->thresholds[i].text, value);
    }
}
