/* tests/load/main.c — the program exec-load: arguments, lanes, a line a second, report, verdict.
 * Exit code: 0 all thresholds hold · 1 one does not, or the run could not be made · 2 wrong command line or scenario. */
#include <getopt.h>
#include <math.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "facts.h"
#include "report.h"
#include "run.h"

enum { EXIT_PASSED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, LEAD_US = 300000, LANES_MAX = 64 };

static const char usage[] =
    "usage: exec-load --scenario FILE --url http[s]://HOST:PORT [--tls-url https://HOST:PORT]\n"
    "  --ca FILE            CA of the gateway's certificate (default: the system's)\n"
    "  --authority HOST     what calls to the exec host name (default: that of the URL)\n"
    "  --tokens FILE        connect tokens, one a line; --access-tokens FILE the same for "
    "published ports\n"
    "  --key FILE --kid KID --alg ALG --issuer ISS   mint them instead, for computers "
    "cmp_load_<n>\n"
    "  --gateway-pid PID    CPU and memory of the gateway from /proc, or\n"
    "  --metrics ADDRESS    from http://ADDRESS/metrics (HOST:PORT or unix:/path); "
    "--metrics-secret FILE its bearer secret\n"
    "  --emit FILE          exec-load-emit as the guest finds it (default: beside exec-load)\n"
    "  --duration TIME      in place of the scenario's, e.g. 30s      --scale X  rates and "
    "sessions times X\n"
    "  --threads N          (1)      --json FILE, --html FILE  reports      --note TEXT  for the "
    "report\n"
    "  --smoke              three seconds of very little of everything; passes when all of it "
    "works\n"
    "  --check              read the scenario, say what is wrong, end\n"
    "tests/load/run starts a gateway, an agent and this, with one command.\n";

struct arguments {
    const char *scenario, *url, *tls_url, *ca, *authority, *tokens, *access_tokens;
    struct identity_mint mint;
    const char *metrics, *metrics_secret, *json, *html, *note, *duration;
    double scale;
    uint64_t pid, threads;
    bool check, smoke;
};

struct program {
    struct arguments arguments;
    struct scenario scenario;
    struct settings settings;
    struct results results;
    struct facts_source source;
    struct lane *lanes;
    char emit_file[4096];
    char secret[512];
};

static struct settings *running; /* for the signal handler */

static void on_signal(int number)
{
    (void)number;
    atomic_store(&running->stop, true);
}

static int fail(const char *format, ...) PRINTF_LIKE(1, 2);
static int fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputs("exec-load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    va_end(arguments);
    return EXIT_USAGE;
}

/* ---- arguments ---- */

enum option_id {
    TEXT_OPTION = 1,
    OPTION_PID = 1000,
    OPTION_THREADS,
    OPTION_SCALE,
    OPTION_CHECK,
    OPTION_SMOKE,
    OPTION_EMIT
};

static const struct {
    const char *name;
    size_t offset;
} text_options[] = {
    { "scenario", offsetof(struct arguments, scenario) },
    { "url", offsetof(struct arguments, url) },
    { "tls-url", offsetof(struct arguments, tls_url) },
    { "ca", offsetof(struct arguments, ca) },
    { "authority", offsetof(struct arguments, authority) },
    { "tokens", offsetof(struct arguments, tokens) },
    { "access-tokens", offsetof(struct arguments, access_tokens) },
    { "key", offsetof(struct arguments, mint.key_file) },
    { "kid", offsetof(struct arguments, mint.kid) },
    { "alg", offsetof(struct arguments, mint.algorithm) },
    { "issuer", offsetof(struct arguments, mint.issuer) },
    { "metrics", offsetof(struct arguments, metrics) },
    { "metrics-secret", offsetof(struct arguments, metrics_secret) },
    { "json", offsetof(struct arguments, json) },
    { "html", offsetof(struct arguments, html) },
    { "note", offsetof(struct arguments, note) },
    { "duration", offsetof(struct arguments, duration) },
};
enum { TEXT_OPTION_COUNT = sizeof(text_options) / sizeof(text_options[0]), OTHER_OPTION_COUNT = 6 };

static int take_option(struct program *p, int option)
{
    struct arguments *a = &p->arguments;
    char *end = NULL;

    switch (option) {
    case OPTION_PID:
        return slice_to_u64(slice_from_string(optarg), &a->pid)
                   ? EXIT_PASSED
                   : fail("--gateway-pid: not a number");
    case OPTION_THREADS:
        if (slice_to_u64(slice_from_string(optarg), &a->threads) && a->threads > 0 &&
            a->threads <= LANES_MAX)
            return EXIT_PASSED;
        return fail("--threads: expected 1 to %d", LANES_MAX);
    case OPTION_SCALE:
        a->scale = strtod(optarg, &end);
        return *end == '\0' && a->scale > 0 && a->scale <= 10000
                   ? EXIT_PASSED
                   : fail("--scale: expected a number above 0");
    case OPTION_CHECK:
        a->check = true;
        return EXIT_PASSED;
    case OPTION_SMOKE:
        a->smoke = true;
        return EXIT_PASSED;
    case OPTION_EMIT:
        snprintf(p->emit_file, sizeof(p->emit_file), "%s", optarg);
        return EXIT_PASSED;
    default:
        if (option < TEXT_OPTION || option >= TEXT_OPTION + TEXT_OPTION_COUNT)
            return EXIT_USAGE;
        *(const char **)(void *)((char *)a + text_options[option - TEXT_OPTION].offset) = optarg;
        return EXIT_PASSED;
    }
}

static int parse(struct program *p, int argc, char **argv)
{
    struct option options[TEXT_OPTION_COUNT + OTHER_OPTION_COUNT + 1] = { 0 };
    size_t count = 0;
    int option;

    for (; count < TEXT_OPTION_COUNT; count++)
        options[count] = (struct option){ text_options[count].name, required_argument, NULL,
                                          TEXT_OPTION + (int)count };
    options[count++] = (struct option){ "gateway-pid", required_argument, NULL, OPTION_PID };
    options[count++] = (struct option){ "threads", required_argument, NULL, OPTION_THREADS };
    options[count++] = (struct option){ "scale", required_argument, NULL, OPTION_SCALE };
    options[count++] = (struct option){ "emit", required_argument, NULL, OPTION_EMIT };
    options[count++] = (struct option){ "smoke", no_argument, NULL, OPTION_SMOKE };
    options[count] = (struct option){ "check", no_argument, NULL, OPTION_CHECK };
    p->arguments = (struct arguments){ .scale = 1, .threads = 1, .note = "" };
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (take_option(p, option) != EXIT_PASSED) {
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    if (optind == argc && p->arguments.scenario != NULL &&
        (p->arguments.check || p->arguments.url != NULL || p->arguments.tls_url != NULL))
        return EXIT_PASSED;
    fputs(usage, stderr);
    return EXIT_USAGE;
}

/* ---- what the run needs ---- */

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

static int read_scenario(struct program *p)
{
    struct scenario *s = &p->scenario;
    struct buf words = { 0 };
    enum status status = scenario_read(p->arguments.scenario, s, &words);
    const char *duration = p->arguments.duration;

    if (status != STATUS_OK)
        fail("%s", buf_text(&words));
    buf_deinit(&words);
    if (status != STATUS_OK)
        return EXIT_USAGE;
    if (duration != NULL &&
        (!scenario_duration(duration, &s->duration_ms) || s->duration_ms <= s->warmup_ms))
        return fail("--duration: expected a duration longer than the warm-up, got \"%s\"",
                    duration);
    if (p->arguments.smoke)
        make_smoke(s);
    for (size_t i = 0; i < s->load_count; i++) {
        s->loads[i].rate *= p->arguments.scale;
        s->loads[i].sessions = (uint64_t)ceil((double)s->loads[i].sessions * p->arguments.scale);
        fit_connections(&s->loads[i]);
    }
    return EXIT_PASSED;
}

/* Every load did something, and nothing failed. */
static bool smoke_passed(const struct results *results)
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

static int check_thresholds(struct program *p)
{
    double value;

    for (size_t i = 0; i < p->scenario.threshold_count; i++) {
        const struct threshold *t = &p->scenario.thresholds[i];
        if (!verdict_number(&p->results, t->load, t->metric, &value))
            return fail("%s: thresholds: there is no number %s.%s", p->arguments.scenario, t->load,
                        t->metric);
    }
    return EXIT_PASSED;
}

static bool resolve(struct slice host, uint16_t port, struct address *out)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG },
                    *found = NULL;
    char name[256], service[8];

    slice_to_string(host, name, sizeof(name));
    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(name, service, &hints, &found) != 0)
        return false;
    *out = (struct address){ .len = found->ai_addrlen };
    memcpy(&out->storage, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

static int make_tls(struct endpoint *e, const char *ca)
{
    static const struct slice alpn[] = {
        [PROTOCOL_H2] = { "h2", 2 }, [PROTOCOL_H1] = { "http/1.1", 8 }
    };
    struct buf words = { 0 };
    enum status status = STATUS_OK;

    for (int i = 0; i < 2 && status == STATUS_OK; i++) {
        struct tls_client_options options = { .ca_file = ca, .alpn = alpn[i] };
        status = tls_context_create_client(&options, &words, &e->tls[i]);
    }
    if (status != STATUS_OK)
        fail("%s", buf_text(&words));
    buf_deinit(&words);
    return status == STATUS_OK ? EXIT_PASSED : EXIT_USAGE;
}

static int make_endpoint(struct program *p, const char *url)
{
    bool secure = strncmp(url, "https://", 8) == 0;
    struct endpoint *e = secure ? &p->settings.secure : &p->settings.clear;
    struct slice rest = slice_from_string(url);
    uint16_t port = secure ? 443 : 80;

    if (!secure && strncmp(url, "http://", 7) != 0)
        return fail("%s: expected http:// or https://", url);
    rest = slice_skip(rest, secure ? 8 : 7);
    rest = slice_first(rest, slice_find(rest, '/'));
    e->scheme = secure ? SLICE("https") : SLICE("http");
    e->authority =
        p->arguments.authority != NULL ? slice_from_string(p->arguments.authority) : rest;
    e->host = rest;
    if (address_split(rest, &e->host, &port) != STATUS_OK)
        e->host = rest;
    if (!resolve(e->host, port, &e->address))
        return fail("%s: no such host", url);
    if (p->arguments.authority != NULL)
        e->host = slice_first(e->authority, slice_find(e->authority, ':'));
    *(secure ? &p->settings.has_secure : &p->settings.has_clear) = true;
    return secure ? make_tls(e, p->arguments.ca) : EXIT_PASSED;
}

static int make_endpoints(struct program *p)
{
    int code = p->arguments.url != NULL ? make_endpoint(p, p->arguments.url) : EXIT_PASSED;

    return code == EXIT_PASSED && p->arguments.tls_url != NULL
               ? make_endpoint(p, p->arguments.tls_url)
               : code;
}

static int make_identities(struct program *p)
{
    struct arguments *a = &p->arguments;
    struct buf words = { 0 };
    enum status status = STATUS_OK;

    a->mint.computers = p->scenario.computers;
    a->mint.sessions = p->scenario.sessions;
    a->mint.life_s = (p->scenario.duration_ms + p->scenario.grace_ms) / 1000 + 3600;
    if (a->mint.key_file != NULL &&
        (a->mint.kid == NULL || a->mint.algorithm == NULL || a->mint.issuer == NULL))
        return fail("--key needs --kid, --alg and --issuer");
    if (a->tokens != NULL)
        status = identities_read(&p->settings.exec, a->tokens, &words);
    else if (a->mint.key_file != NULL)
        status = identities_mint(&p->settings.exec, &a->mint, &words);
    a->mint.is_access = true;
    if (status == STATUS_OK && a->access_tokens != NULL)
        status = identities_read(&p->settings.access, a->access_tokens, &words);
    else if (status == STATUS_OK && a->mint.key_file != NULL)
        status = identities_mint(&p->settings.access, &a->mint, &words);
    if (status != STATUS_OK)
        fail("%s", buf_text(&words));
    buf_deinit(&words);
    return status == STATUS_OK ? EXIT_PASSED : EXIT_USAGE;
}

/* Loads that need a token have one. */
static int check_identities(const struct program *p)
{
    for (size_t i = 0; i < p->scenario.load_count; i++) {
        const struct load *load = &p->scenario.loads[i];
        bool is_port = load->kind == LOAD_HTTP || load->kind == LOAD_WEBSOCKET;
        const struct identities *needed = is_port ? &p->settings.access : &p->settings.exec;

        if (load->kind != LOAD_STORM && load->auth != AUTH_NONE && needed->count == 0)
            return fail("%s needs %s or --key", load->name,
                        is_port ? "--access-tokens" : "--tokens");
    }
    return EXIT_PASSED;
}

static int make_source(struct program *p)
{
    const char *address = p->arguments.metrics, *secret = p->arguments.metrics_secret;
    FILE *file;

    p->source = (struct facts_source){ .pid = (pid_t)p->arguments.pid, .path = "/metrics" };
    if (address == NULL)
        return EXIT_PASSED;
    if (address_parse(slice_from_string(address), &p->source.metrics) != STATUS_OK)
        return fail("--metrics: expected HOST:PORT or unix:/path, got \"%s\"", address);
    p->source.has_metrics = true;
    if (secret == NULL)
        return EXIT_PASSED;
    file = fopen(secret, "re");
    if (file == NULL || fgets(p->secret, sizeof(p->secret), file) == NULL)
        p->secret[0] = '\0';
    if (file != NULL)
        (void)fclose(file);
    p->secret[strcspn(p->secret, "\r\n")] = '\0';
    p->source.secret = p->secret;
    return p->secret[0] != '\0' ? EXIT_PASSED : fail("%s: no secret in it", secret);
}

static void find_emit(struct program *p)
{
    ssize_t len;
    char *slash;

    if (p->emit_file[0] == '\0') {
        len = readlink("/proc/self/exe", p->emit_file, sizeof(p->emit_file) - 32);
        p->emit_file[len > 0 ? len : 0] = '\0';
        slash = strrchr(p->emit_file, '/');
        strcpy(slash != NULL ? slash + 1 : p->emit_file, "exec-load-emit");
    }
    p->settings.emit_file = p->emit_file;
}

/* As many descriptors as there may be. */
static void raise_limits(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* We are the client: what the gateway does to defend itself from strangers is not for us to do to it. */
static void set_limits(struct http_limits *limits)
{
    http_limits_init(limits);
    limits->glitches = 100000;
    limits->pings = 100000;
    limits->settings_frames = 100000;
    limits->window_updates_per_data = 1000;
    limits->overhead_bytes = SIZE_MAX / 2;
    limits->keepalive_requests = SIZE_MAX;
    limits->streams_total = UINT64_MAX;
}

/* ---- the run ---- */

struct watching {
    struct facts first, last;
    double client_first_s, client_last_s;
    bool is_known;
};

static void watch_second(struct program *p, struct watching *w, size_t second, double seconds)
{
    struct results *r = &p->results;
    struct facts now;
    double client_s = facts_client_cpu_s();
    struct facts_second *at = &r->facts[second < r->second_count ? second : r->second_count - 1];

    at->client_cores = (client_s - w->client_last_s) / seconds;
    w->client_last_s = client_s;
    if (!w->is_known || !facts_read(&p->source, &now))
        return;
    *at = (struct facts_second){ (now.cpu_s - w->last.cpu_s) / seconds, at->client_cores,
                                 now.rss_mib, true };
    if (now.rss_mib > r->gateway_rss_peak_mib)
        r->gateway_rss_peak_mib = now.rss_mib;
    r->gateway_cpu_s = now.cpu_s - w->first.cpu_s;
    w->last = now;
}

static void watch_begin(struct program *p, struct watching *w)
{
    *w = (struct watching){ 0 };
    w->client_first_s = w->client_last_s = facts_client_cpu_s();
    w->is_known = facts_read(&p->source, &w->first);
    w->last = w->first;
    p->results.gateway_rss_start_mib = p->results.gateway_rss_peak_mib = w->first.rss_mib;
}

static bool lanes_are_done(struct program *p, unsigned *done)
{
    while (*done < p->settings.lane_count && pthread_tryjoin_np(p->lanes[*done].thread, NULL) == 0)
        (*done)++;
    return *done == p->settings.lane_count;
}

static void sleep_until(uint64_t at_us)
{
    struct timespec at = { (time_t)(at_us / 1000000), (long)(at_us % 1000000) * 1000 };

    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* A line a second, a moment after its end, when the lanes have told it. */
static void follow(struct program *p, struct watching *w)
{
    bool is_terminal = isatty(STDOUT_FILENO) == 1;
    size_t second = 0, shown = 0;
    unsigned done = 0;
    uint64_t last_us = p->settings.begin_us;

    while (!lanes_are_done(p, &done)) {
        uint64_t due_us = p->settings.begin_us + (second + 1) * 1000000, now;

        now = now_us();
        sleep_until(now + 50000 < due_us ? now + 50000 : due_us);
        if (now_us() >= due_us) {
            now = now_us();
            watch_second(p, w, second++, (double)(now - last_us) / 1e6);
            last_us = now;
        }
        pthread_mutex_lock(&p->results.lock);
        for (; shown < second && shown < p->results.complete_count; shown++)
            report_progress(&p->results, shown, is_terminal);
        pthread_mutex_unlock(&p->results.lock);
    }
    p->results.ran_s = (double)(now_us() - p->settings.begin_us) / 1e6;
    if (now_us() > last_us + 1000)
        watch_second(p, w, second, (double)(now_us() - last_us) / 1e6);
    p->results.client_cpu_s = w->client_last_s - w->client_first_s;
}

static int run(struct program *p)
{
    struct settings *s = &p->settings;
    struct watching watching;
    struct sigaction action = { .sa_handler = on_signal,
                                .sa_flags = (int)SA_RESETHAND }; /* a second one ends at once */

    running = s;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    p->lanes = mem_zeroed(s->lane_count * sizeof(*p->lanes));
    watch_begin(p, &watching);
    s->begin_us = now_us() + LEAD_US; /* connections open meanwhile */
    s->end_us = s->begin_us + p->scenario.duration_ms * 1000;
    for (unsigned i = 0; i < s->lane_count; i++)
        if (!lane_start(&p->lanes[i], i, s))
            return fail(
                "no thread or no descriptor left"); /* ends the process, and the other lanes with it */
    follow(p, &watching);
    results_close(&p->results);
    return EXIT_PASSED;
}

static int report(struct program *p, int64_t started_wall_s)
{
    const struct arguments *a = &p->arguments;
    const struct report_facts facts = { .target = a->url != NULL ? a->url : a->tls_url,
                                        .note = a->note,
                                        .started_wall_s = started_wall_s,
                                        .was_stopped = atomic_load(&p->settings.stop) };
    bool is_written = true;

    report_summary(&p->results);
    if (a->json != NULL)
        is_written = report_write_json(a->json, &p->results, &facts);
    if (a->html != NULL)
        is_written = report_write_html(a->html, &p->results, &facts) && is_written;
    if (a->smoke && !smoke_passed(&p->results))
        return EXIT_FAILED;
    return is_written && report_passed(&p->results) ? EXIT_PASSED : EXIT_FAILED;
}

static int prepare(struct program *p)
{
    int code = make_endpoints(p);

    if (code == EXIT_PASSED)
        code = make_identities(p);
    if (code == EXIT_PASSED)
        code = check_identities(p);
    if (code == EXIT_PASSED)
        code = make_source(p);
    p->settings.scenario = &p->scenario;
    p->settings.results = &p->results;
    p->settings.lane_count = (unsigned)p->arguments.threads;
    set_limits(&p->settings.limits);
    find_emit(p);
    raise_limits();
    return code;
}

static void clean_up(struct program *p)
{
    struct endpoint *ends[] = { &p->settings.clear, &p->settings.secure };

    for (size_t i = 0; i < 2; i++)
        for (size_t t = 0; t < 2; t++)
            tls_context_unref(&ends[i]->tls[t]);
    identities_deinit(&p->settings.exec);
    identities_deinit(&p->settings.access);
    results_deinit(&p->results);
    scenario_deinit(&p->scenario);
    mem_free(p->lanes);
}

int main(int argc, char **argv)
{
    static struct program program;
    struct program *p = &program;
    int64_t started_wall_s = time(NULL);
    int code = parse(p, argc, argv);

    if (code != EXIT_PASSED || (code = read_scenario(p)) != EXIT_PASSED)
        return code;
    results_init(&p->results, &p->scenario, (unsigned)p->arguments.threads);
    code = check_thresholds(p);
    if (code == EXIT_PASSED && !p->arguments.check) {
        code = prepare(p);
        if (code == EXIT_PASSED)
            code = run(p);
        if (code == EXIT_PASSED)
            code = report(p, started_wall_s);
    }
    clean_up(p);
    return code;
}
