/* admin/metrics_text.c — see metrics_text.h. One table for what is a plain counter or gauge of some
 * layer; below it, what has labels of its own. Labels are names of ours or of the configuration:
 * nothing that a client sends becomes one. */
#include "admin/metrics_text.h"

#include <stddef.h>
#include <time.h>

enum source { HTTP, PROXY, UPSTREAM, ROUTES, REDIS, TOKENS, LOOP, ACCEPTS };

struct row {
    const char *name; /* after exec_gateway_; rows of one family stand together */
    const char *labels;
    const char *type;
    const char *help;
    enum source source;
    size_t offset;
};

#define HTTP_AT(member) HTTP, offsetof(struct http_server_counters, member)
#define PROXY_AT(member) PROXY, offsetof(struct proxy_counters, member)
#define UPSTREAM_AT(member) UPSTREAM, offsetof(struct upstream_counters, member)
#define ROUTES_AT(member) ROUTES, offsetof(struct route_resolver_counters, member)
#define REDIS_AT(member) REDIS, offsetof(struct route_store_redis_counters, member)
#define TOKENS_AT(member) TOKENS, offsetof(struct token_counters, member)
#define LOOP_AT(member) LOOP, offsetof(struct loop_counters, member)
#define ACCEPTS_AT(member) ACCEPTS, offsetof(struct listener_group, member)

static const char closed_help[] = "Client connections that were closed for cause.";
static const char pause_help[] =
    "Times when a worker stopped accepting: limits.connections, or no descriptors left.";
static const char handshake_help[] =
    "TLS handshakes and PROXY headers that did not come to an end.";
static const char wake_help[] =
    "Wake: computers asked for, requests for which there was no room or no time, and entries that "
    "Redis did not take.";
static const char http_help[] = "Requests by HTTP version.";
static const char lookup_help[] = "Look-ups of computers, hosts and sessions, by where the answer "
                                  "came from.";

static const struct row rows[] = {
    { "http_requests_total", "http=\"1\"", "counter", http_help, HTTP_AT(h1_requests) },
    { "http_requests_total", "http=\"2\"", "counter", http_help, HTTP_AT(h2_requests) },
    { "http_refused_requests_total", "", "counter",
      "Requests that the HTTP layer refused as malformed or too large.",
      HTTP_AT(refused_requests) },
    { "http_refused_streams_total", "", "counter",
      "HTTP/2 streams above limits.h2.streams, or above the 100 of a connection without a token.",
      HTTP_AT(refused_streams) },
    { "http_stalled_streams_total", "", "counter",
      "HTTP/2 streams that were reset because their window stayed shut for limits.write_stall.",
      HTTP_AT(stalled_streams) },
    { "connections_retired_total", "", "counter",
      "HTTP/2 connections that were asked to end after limits.h2.streams_total streams.",
      HTTP_AT(conns_retired) },
    { "connections_closed_total", "reason=\"head_timeout\"", "counter", closed_help,
      HTTP_AT(closed_head_timeout) },
    { "connections_closed_total", "reason=\"idle\"", "counter", closed_help, HTTP_AT(closed_idle) },
    { "connections_closed_total", "reason=\"glitches\"", "counter", closed_help,
      HTTP_AT(closed_glitches) },
    { "connections_closed_total", "reason=\"resets\"", "counter", closed_help,
      HTTP_AT(closed_resets) },
    { "connections_closed_total", "reason=\"flood\"", "counter", closed_help,
      HTTP_AT(closed_flood) },
    { "connections_closed_total", "reason=\"stalled\"", "counter", closed_help,
      HTTP_AT(closed_stalled) },
    { "connections_closed_total", "reason=\"protocol\"", "counter", closed_help,
      HTTP_AT(closed_protocol) },
    { "connections_closed_total", "reason=\"address\"", "counter", closed_help,
      HTTP_AT(refused_address) },
    { "connections_closed_total", "reason=\"memory\"", "counter", closed_help,
      HTTP_AT(closed_memory) },
    { "connections_closed_total", "reason=\"tls_messages\"", "counter", closed_help,
      LOOP_AT(tls_floods) },
    { "accept_pauses_total", "reason=\"connections\"", "counter", pause_help, ACCEPTS_AT(full) },
    { "accept_pauses_total", "reason=\"descriptors\"", "counter", pause_help,
      ACCEPTS_AT(exhausted) },
    { "epoll_refusals_total", "", "counter",
      "Descriptors that epoll did not take at first (ENOMEM, ENOSPC); they are asked for again.",
      LOOP_AT(epoll_refusals) },
    { "tls_handshakes_total", "", "counter", "TLS handshakes that came to their end.",
      HTTP_AT(tls_handshakes) },
    { "tls_resumptions_total", "", "counter", "TLS handshakes that resumed a session.",
      HTTP_AT(tls_resumed) },
    { "handshake_failures_total", "reason=\"malformed\"", "counter", handshake_help,
      HTTP_AT(open_malformed) },
    { "handshake_failures_total", "reason=\"timeout\"", "counter", handshake_help,
      HTTP_AT(open_timed_out) },
    { "handshake_failures_total", "reason=\"stranger\"", "counter", handshake_help,
      ACCEPTS_AT(strangers) },
    { "handshake_failures_total", "reason=\"lost\"", "counter", handshake_help,
      HTTP_AT(open_lost) },

    { "retries_total", "", "counter", "Requests that were sent to the agent a second time.",
      PROXY_AT(retries) },
    { "wakes_total", "outcome=\"asked\"", "counter", wake_help, PROXY_AT(wakes_asked) },
    { "wakes_total", "outcome=\"refused\"", "counter", wake_help, PROXY_AT(wakes_refused) },
    { "wakes_total", "outcome=\"timed_out\"", "counter", wake_help, PROXY_AT(wakes_timed_out) },
    { "wakes_total", "outcome=\"failed\"", "counter", wake_help, PROXY_AT(wakes_failed) },
    { "wakes_waiting", "", "gauge", "Requests that wait for their computer to run.",
      PROXY_AT(wakes_waiting) },
    { "received_bytes_total", "", "counter", "Body bytes of ended requests, from clients.",
      PROXY_AT(bytes_in) },
    { "sent_bytes_total", "", "counter", "Body bytes of ended requests, to clients.",
      PROXY_AT(bytes_out) },

    { "token_cache_hits_total", "", "counter", "Tokens whose signature was checked before.",
      TOKENS_AT(cache_hits) },

    { "route_lookups_total", "result=\"hit\"", "counter", lookup_help, ROUTES_AT(hits) },
    { "route_lookups_total", "result=\"miss\"", "counter", lookup_help, ROUTES_AT(misses) },
    { "route_lookups_total", "result=\"joined\"", "counter", lookup_help, ROUTES_AT(joined) },
    { "route_lookups_total", "result=\"negative_hit\"", "counter", lookup_help,
      ROUTES_AT(negative_hits) },
    { "route_lookups_total", "result=\"unavailable\"", "counter", lookup_help,
      ROUTES_AT(unavailable) },
    { "route_stale_served_total", "", "counter", "Answers given while the registry was away.",
      ROUTES_AT(stale_served) },
    { "route_invalidations_total", "", "counter", "Records that the registry said have changed.",
      ROUTES_AT(invalidations) },
    { "route_flushes_total", "", "counter", "Times when everything known became doubtful.",
      ROUTES_AT(flushes) },
    { "route_entries", "", "gauge", "Records remembered, over all workers.", ROUTES_AT(entries) },

    { "redis_commands_total", "", "counter", "Commands sent to Redis.", REDIS_AT(commands) },
    { "redis_replies_total", "", "counter", "Replies of Redis.", REDIS_AT(replies) },
    { "redis_timeouts_total", "", "counter", "Replies of Redis that did not come in time.",
      REDIS_AT(timeouts) },
    { "redis_connects_total", "", "counter", "Connections to Redis that were made.",
      REDIS_AT(connects) },
    { "redis_disconnects_total", "", "counter", "Connections to Redis that were lost.",
      REDIS_AT(disconnects) },
    { "redis_master_changes_total", "", "counter",
      "Masters that the sentinels told, the first one too.", REDIS_AT(master_changes) },
    { "redis_refused_replies_total", "", "counter",
      "Replies of Redis that were too large or not understood.", REDIS_AT(refused_replies) },

    { "upstream_connects_total", "", "counter", "Connections to agents that were made.",
      UPSTREAM_AT(connects) },
    { "upstream_connect_failures_total", "", "counter", "Connections to agents that failed.",
      UPSTREAM_AT(connect_failures) },
    { "upstream_refused_addresses_total", "", "counter",
      "Agents outside upstream.allow, among the failures.", UPSTREAM_AT(refused_addresses) },
    { "upstream_reuses_total", "", "counter", "Requests on a connection that was used before.",
      UPSTREAM_AT(reuses) },
    { "upstream_goaways_total", "", "counter", "Connections that agents ended in order.",
      UPSTREAM_AT(goaways) },
    { "upstream_lost_total", "", "counter", "Connections to agents that broke.",
      UPSTREAM_AT(lost) },
    { "upstream_busy_total", "", "counter", "Requests refused because an agent had no room.",
      UPSTREAM_AT(busy) },
    { "upstream_backoffs_total", "", "counter",
      "Requests refused because an agent is left alone for a while.", UPSTREAM_AT(backoffs) },
    { "upstream_connections_open", "", "gauge", "Connections to agents.", UPSTREAM_AT(conns_open) },
    { "upstream_streams_open", "", "gauge", "Requests open at agents.", UPSTREAM_AT(streams_open) },
};

/* ---- writing ---- */

static void family(struct buf *into, const char *name, const char *type, const char *help)
{
    buf_printf(into, "# HELP exec_gateway_%s %s\n# TYPE exec_gateway_%s %s\n", name, help, name,
               type);
}

static void sample(struct buf *into, const char *name, const char *labels, uint64_t value)
{
    if (labels[0] != '\0')
        buf_printf(into, "exec_gateway_%s{%s} %llu\n", name, labels, (unsigned long long)value);
    else
        buf_printf(into, "exec_gateway_%s %llu\n", name, (unsigned long long)value);
}

static void label_value(struct buf *into, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\\' || text.ptr[i] == '"')
            buf_append_byte(into, '\\');
        buf_append_byte(into, text.ptr[i] == '\n' ? ' ' : text.ptr[i]);
    }
}

static void single(struct buf *into, const char *name, const char *type, const char *help,
                   double value)
{
    family(into, name, type, help);
    buf_printf(into, "exec_gateway_%s %.17g\n", name, value);
}

/* ---- the table ---- */

static const void *base_of(const struct worker_view *worker, enum source source)
{
    switch (source) {
    case HTTP:
        return http_server_counters(worker->server);
    case PROXY:
        return proxy_counters(worker->proxy);
    case UPSTREAM:
        return upstream_pool_counters(worker->upstreams);
    case ROUTES:
        return route_resolver_counters(worker->routes);
    case REDIS:
        return worker->redis;
    case LOOP:
        return loop_counters(worker->loop);
    case ACCEPTS:
        return worker->accepts;
    default:
        return token_verifier_counters(worker->tokens);
    }
}

static void print_rows(const struct process_facts *facts, struct buf *into)
{
    const char *last = "";

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        uint64_t sum = 0;

        if (row->source == REDIS && facts->workers[0].redis == NULL)
            continue;
        for (size_t w = 0; w < facts->worker_count; w++) {
            const char *base = base_of(&facts->workers[w], row->source);

            sum += counter_read((const struct counter *)(const void *)(base + row->offset));
        }
        if (strcmp(last, row->name) != 0)
            family(into, row->name, row->type, row->help);
        last = row->name;
        sample(into, row->name, row->labels, sum);
    }
}

/* ---- histograms ---- */

struct histogram_sum {
    uint64_t buckets[HISTOGRAM_BOUND_COUNT + 1];
    uint64_t sum_us;
    uint64_t count;
};

static void histogram_add(struct histogram_sum *sum, const struct histogram *histogram)
{
    for (size_t i = 0; i <= HISTOGRAM_BOUND_COUNT; i++) {
        uint64_t count = counter_read(&histogram->buckets[i]);

        sum->buckets[i] += count;
        sum->count += count;
    }
    sum->sum_us += counter_read(&histogram->sum_us);
}

static void histogram_print(struct buf *into, const char *name, const char *labels,
                            const struct histogram_sum *sum)
{
    const char *comma = labels[0] != '\0' ? "," : "";
    uint64_t below = 0;

    for (size_t i = 0; i < HISTOGRAM_BOUND_COUNT; i++) {
        below += sum->buckets[i];
        buf_printf(into, "exec_gateway_%s_bucket{%s%sle=\"%g\"} %llu\n", name, labels, comma,
                   (double)histogram_bounds_us[i] / 1e6, (unsigned long long)below);
    }
    buf_printf(into, "exec_gateway_%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma,
               (unsigned long long)sum->count);
    const char *open = labels[0] != '\0' ? "{" : "", *close = labels[0] != '\0' ? "}" : "";

    buf_printf(into, "exec_gateway_%s_sum%s%s%s %.6f\n", name, open, labels, close,
               (double)sum->sum_us / 1e6);
    buf_printf(into, "exec_gateway_%s_count%s%s%s %llu\n", name, open, labels, close,
               (unsigned long long)sum->count);
}

static const char *method_text(unsigned method)
{
    return method < PROCESS_METHOD_COUNT ? process_method_text((enum process_method)method)
                                         : "other";
}

/* `offset`: of the [kind][method] array in struct call_metrics. Methods that were never called have
 * no series, but for Start, so that the family is never empty. */
static void print_call_histograms(const struct process_facts *facts, const char *name,
                                  const char *help, size_t offset, struct buf *into)
{
    family(into, name, "histogram", help);
    for (unsigned kind = 0; kind < METRICS_KIND_COUNT; kind++) {
        for (unsigned method = 0; method < METRICS_METHOD_COUNT; method++) {
            struct histogram_sum sum = { 0 };
            struct buf labels = { 0 };

            for (size_t w = 0; w < facts->worker_count; w++) {
                const char *metrics =
                    (const char *)&proxy_counters(facts->workers[w].proxy)->metrics;
                const struct histogram *all =
                    (const struct histogram *)(const void *)(metrics + offset);

                histogram_add(&sum, &all[kind * METRICS_METHOD_COUNT + method]);
            }
            buf_printf(&labels, "kind=\"%s\",method=\"%s\"",
                       call_metrics_kind_text((enum call_metrics_kind)kind), method_text(method));
            if (sum.count > 0 || (kind == METRICS_EXEC && method == METHOD_START))
                histogram_print(into, name, buf_text(&labels), &sum);
            buf_deinit(&labels);
        }
    }
}

static void print_histograms(const struct process_facts *facts, struct buf *into)
{
    struct histogram_sum turn = { 0 }, connect = { 0 }, latency = { 0 };

    print_call_histograms(facts, "request_duration_seconds",
                          "From the head of a request to the end of its answer, or of its stream.",
                          offsetof(struct call_metrics, duration), into);
    print_call_histograms(facts, "request_first_byte_seconds",
                          "From the head of a request to the head of the agent's answer.",
                          offsetof(struct call_metrics, first_byte), into);
    for (size_t w = 0; w < facts->worker_count; w++) {
        const struct worker_view *worker = &facts->workers[w];

        histogram_add(&turn, &loop_counters(worker->loop)->turn);
        histogram_add(&connect, &proxy_counters(worker->proxy)->metrics.connect);
        if (worker->redis != NULL)
            histogram_add(&latency, &worker->redis->latency);
    }
    family(into, "upstream_wait_seconds", "histogram",
           "From the known route to a connection to the agent with room.");
    histogram_print(into, "upstream_wait_seconds", "", &connect);
    family(into, "worker_turn_seconds", "histogram",
           "Turns of the event loops: how long everything else had to wait.");
    histogram_print(into, "worker_turn_seconds", "", &turn);
    if (facts->workers[0].redis == NULL)
        return;
    family(into, "redis_latency_seconds", "histogram", "From a command to its reply.");
    histogram_print(into, "redis_latency_seconds", "", &latency);
}

/* ---- what has labels of its own ---- */

/* `offset`: of a counter in struct call_metrics. */
static uint64_t sum_metrics(const struct process_facts *facts, size_t offset)
{
    uint64_t sum = 0;

    for (size_t w = 0; w < facts->worker_count; w++) {
        const char *metrics = (const char *)&proxy_counters(facts->workers[w].proxy)->metrics;

        sum += counter_read((const struct counter *)(const void *)(metrics + offset));
    }
    return sum;
}

static void print_request(const struct process_facts *facts, const unsigned at[4], struct buf *into)
{
    size_t index =
        ((at[0] * CALLER_COUNT + at[1]) * METRICS_METHOD_COUNT + at[2]) * CONNECT_CODE_COUNT +
        at[3];
    uint64_t sum = sum_metrics(facts, offsetof(struct call_metrics, requests) +
                                          index * sizeof(struct counter));

    if (sum == 0)
        return;
    buf_printf(into,
               "exec_gateway_requests_total{kind=\"%s\",protocol=\"%s\",method=\"%s\",code=\"%s\"} "
               "%llu\n",
               call_metrics_kind_text((enum call_metrics_kind)at[0]),
               caller_text((enum caller)at[1]), method_text(at[2]),
               at[3] == CONNECT_OK ? "ok" : connect_code_text((enum connect_code)at[3]),
               (unsigned long long)sum);
}

static void print_requests(const struct process_facts *facts, struct buf *into)
{
    unsigned at[4];

    family(into, "requests_total", "counter",
           "Ended requests; code: Connect's, as the gateway answered or the agent said: HTTP "
           "status, grpc-status, "
           "Connect error. ok: also streams whose last message is compressed.");
    for (at[0] = 0; at[0] < METRICS_KIND_COUNT; at[0]++)
        for (at[1] = 0; at[1] < CALLER_COUNT; at[1]++)
            for (at[2] = 0; at[2] < METRICS_METHOD_COUNT; at[2]++)
                for (at[3] = 0; at[3] < CONNECT_CODE_COUNT; at[3]++)
                    print_request(facts, at, into);
    family(into, "open_requests", "gauge", "Requests and streams that are open.");
    for (unsigned kind = 0; kind < METRICS_KIND_COUNT; kind++)
        buf_printf(into, "exec_gateway_open_requests{kind=\"%s\"} %llu\n",
                   call_metrics_kind_text((enum call_metrics_kind)kind),
                   (unsigned long long)sum_metrics(facts, offsetof(struct call_metrics, open) +
                                                              kind * sizeof(struct counter)));
    family(into, "open_tunnels", "gauge", "WebSockets, among the open requests.");
    sample(into, "open_tunnels", "", sum_metrics(facts, offsetof(struct call_metrics, tunnels)));
}

static void print_ends(const struct process_facts *facts, struct buf *into)
{
    family(into, "requests_ended_total", "counter", "Ended requests by why and who ended them.");
    for (unsigned status = 0; status < STATUS_COUNT; status++) {
        for (unsigned ender = 0; ender < METRICS_ENDER_COUNT; ender++) {
            size_t index = status * METRICS_ENDER_COUNT + ender;
            uint64_t sum = sum_metrics(facts, offsetof(struct call_metrics, ended) +
                                                  index * sizeof(struct counter));

            if (sum > 0 || (status == STATUS_OK && ender == 1))
                buf_printf(into,
                           "exec_gateway_requests_ended_total{reason=\"%s\",ended_by=\"%s\"} "
                           "%llu\n",
                           status_name((enum status)status), call_metrics_ender_text(ender),
                           (unsigned long long)sum);
        }
    }
    family(into, "refusals_total", "counter", "Requests that the HTTP layer refused, by why.");
    for (unsigned status = STATUS_MALFORMED; status <= STATUS_REQUEST_TIMED_OUT; status++)
        buf_printf(into, "exec_gateway_refusals_total{reason=\"%s\"} %llu\n",
                   status_name((enum status)status),
                   (unsigned long long)sum_metrics(facts, offsetof(struct call_metrics, refused) +
                                                              status * sizeof(struct counter)));
}

static void print_token_verdicts(const struct process_facts *facts, struct buf *into)
{
    uint64_t good = 0;

    family(into, "token_verdicts_total", "counter",
           "Tokens that were checked, by the outcome; those known from before are cache hits.");
    for (size_t w = 0; w < facts->worker_count; w++)
        good += counter_read(&token_verifier_counters(facts->workers[w].tokens)->verified);
    sample(into, "token_verdicts_total", "verdict=\"ok\"", good);
    for (unsigned status = STATUS_TOKEN_MISSING; status <= STATUS_TOKEN_PORT; status++) {
        uint64_t sum = 0;

        for (size_t w = 0; w < facts->worker_count; w++)
            sum +=
                counter_read(&token_verifier_counters(facts->workers[w].tokens)->refused[status]);
        buf_printf(into, "exec_gateway_token_verdicts_total{verdict=\"%s\"} %llu\n",
                   status_name((enum status)status), (unsigned long long)sum);
    }
}

static void print_listener_family(const struct process_facts *facts, const char *name,
                                  const char *type, const char *help, size_t offset,
                                  struct buf *into)
{
    family(into, name, type, help);
    for (size_t i = 0; i < facts->listener_count; i++) {
        char text[ADDRESS_TEXT_BYTES];
        uint64_t sum = 0;

        for (size_t w = 0; w < facts->worker_count; w++) {
            const char *counters = (const char *)&facts->workers[w].listeners[i];

            sum += counter_read((const struct counter *)(const void *)(counters + offset));
        }
        buf_printf(into, "exec_gateway_%s{listener=\"", name);
        label_value(into, slice_from_string(address_text(&facts->listeners[i], text)));
        buf_printf(into, "\"} %llu\n", (unsigned long long)sum);
    }
}

static struct slice last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slice_from_string(slash != NULL ? slash + 1 : path);
}

static void print_expiries(const struct process_facts *facts, struct buf *into)
{
    family(into, "certificate_expiry_timestamp_seconds", "gauge",
           "When a certificate that is served ends.");
    for (size_t i = 0; i < facts->certificate_count; i++) {
        buf_printf(into, "exec_gateway_certificate_expiry_timestamp_seconds{index=\"%zu\",file=\"",
                   i);
        label_value(into, last_part(facts->certificates[i].file));
        buf_printf(into, "\"} %lld\n", (long long)facts->certificates[i].expires_wall_s);
    }
    family(into, "key_modified_timestamp_seconds", "gauge",
           "When the file of a token key was last changed, as it was loaded.");
    for (size_t i = 0; i < facts->key_count; i++)
        buf_printf(into, "exec_gateway_key_modified_timestamp_seconds{kid=\"%s\"} %lld\n",
                   facts->keys[i].kid, (long long)facts->keys[i].modified_wall_s);
    family(into, "key_expiry_timestamp_seconds", "gauge",
           "When a token key that is a certificate ends.");
    for (size_t i = 0; i < facts->key_count; i++)
        if (facts->keys[i].expires_wall_s != 0)
            buf_printf(into, "exec_gateway_key_expiry_timestamp_seconds{kid=\"%s\"} %lld\n",
                       facts->keys[i].kid, (long long)facts->keys[i].expires_wall_s);
}

/* ---- the process ---- */

void metrics_text_print_usage(const struct process_usage *usage, struct buf *into)
{
    single(into, "process_cpu_seconds_total", "counter", "CPU time of the process.", usage->cpu_s);
    single(into, "process_resident_memory_bytes", "gauge", "Resident memory of the process.",
           (double)usage->resident_bytes);
    single(into, "process_open_fds", "gauge", "Open file descriptors.", (double)usage->open_fds);
    single(into, "process_max_fds", "gauge", "Limit of file descriptors.", (double)usage->max_fds);
}

static void print_pressures(const struct process_facts *facts, struct buf *into)
{
    static const char *const labels[] = { NULL, "percent=\"80\"", "percent=\"90\"",
                                          "percent=\"95\"" };

    family(into, "memory_pressure_total", "counter",
           "Times when so much of the memory limit was in use; what happens then: "
           "docs/operations.md.");
    for (size_t level = 1; level < sizeof(labels) / sizeof(labels[0]); level++)
        sample(into, "memory_pressure_total", labels[level], facts->memory_pressures[level]);
}

static void print_process(const struct process_facts *facts, struct buf *into)
{
    uint64_t dropped = 0;

    family(into, "admin_reserve_used_total", "counter",
           "Connections of the admin listener that took a descriptor of its reserve, since the "
           "process had no other left.");
    sample(into, "admin_reserve_used_total", "", facts->admin_reserve_used);
    family(into, "build_info", "gauge", "Always 1; the version is a label.");
    buf_append(into, SLICE("exec_gateway_build_info{version=\"" GATEWAY_VERSION "\"} 1\n"));
    single(into, "start_time_seconds", "gauge", "When the process started.",
           (double)facts->started_wall_s);
    single(into, "workers", "gauge", "Worker threads.", (double)facts->worker_count);
    single(into, "draining", "gauge", "1 while the process drains.", facts->is_draining ? 1 : 0);
    single(into, "memory_pressure_level", "gauge",
           "0: none; 1, 2, 3: above 80, 90, 95 percent of the memory limit.",
           (double)facts->memory_pressure);
    print_pressures(facts, into);
    single(into, "config_last_reload_successful", "gauge",
           "0 when the last reload was refused and the old configuration stays.",
           facts->last_reload_failed ? 0 : 1);
    single(into, "config_last_success_timestamp_seconds", "gauge",
           "When the configuration in force was taken.", (double)facts->reloaded_wall_s);
    family(into, "config_reloads_total", "counter", "Reloads by outcome.");
    sample(into, "config_reloads_total", "result=\"success\"", facts->reloads);
    sample(into, "config_reloads_total", "result=\"failure\"", facts->reload_failures);
    for (size_t w = 0; w < facts->worker_count; w++)
        dropped += facts->workers[w].log != NULL ? access_log_dropped(facts->workers[w].log) : 0;
    single(into, "access_log_dropped_lines_total", "counter",
           "Access log lines that the sink did not take.", (double)dropped);
    if (facts->workers[0].redis != NULL) {
        single(into, "redis_links_up", "gauge",
               "Workers that hear of changes from Redis; all, when it is well.",
               (double)process_links_up(facts));
    }
}

void metrics_text_print(const struct process_facts *facts, struct buf *into)
{
    struct process_usage usage;

    process_usage_read(&usage);
    print_process(facts, into);
    metrics_text_print_usage(&usage, into);
    print_expiries(facts, into);
    print_listener_family(facts, "connections_open", "gauge", "Client connections.",
                          offsetof(struct listener_counters, open), into);
    print_listener_family(facts, "connections_total", "counter", "Client connections accepted.",
                          offsetof(struct listener_counters, total), into);
    print_requests(facts, into);
    print_ends(facts, into);
    print_token_verdicts(facts, into);
    print_rows(facts, into);
    print_histograms(facts, into);
}
