/* admin/admin_api.c — see admin_api.h. */
#include "admin/admin_api.h"

#include <time.h>

#include "admin/gather.h"
#include "admin/metrics_text.h"
#include "proxy/call_list.h"

enum { ROWS_DEFAULT = 1000, ROWS_MAX = 10000 };

static const char json[] = "application/json";

void admin_answer_error(struct admin_request *request, unsigned http, const char *code,
                        const char *message)
{
    struct buf body = { 0 };

    buf_printf(&body, "{\"code\":\"%s\",\"message\":\"", code);
    buf_append_json_text(&body, slice_from_string(message));
    buf_append(&body, SLICE("\"}\n"));
    admin_answer(request, http, json, buf_slice(&body));
    buf_deinit(&body);
}

uint64_t admin_query_number(struct slice query, struct slice name, uint64_t fallback)
{
    while (query.len > 0) {
        struct slice value = slice_cut(&query, '&');
        struct slice key = slice_cut(&value, '=');
        uint64_t number;

        if (slice_equal(key, name) && slice_to_u64(value, &number))
            return number;
    }
    return fallback;
}

/* ---- at once ---- */

static void answer_livez(struct admin_api *api, struct admin_request *request, struct slice rest)
{
    (void)api;
    (void)rest;
    admin_answer(request, 200, json, SLICE("{\"status\":\"live\"}\n"));
}

static void answer_readyz(struct admin_api *api, struct admin_request *request, struct slice rest)
{
    const char *reason = process_not_ready(api->facts);

    (void)rest;
    if (reason == NULL)
        admin_answer(request, 200, json, SLICE("{\"status\":\"ready\"}\n"));
    else
        admin_answer_error(request, 503, "unavailable", reason);
}

static void answer_metrics(struct admin_api *api, struct admin_request *request, struct slice rest)
{
    struct buf body = { 0 };

    (void)rest;
    metrics_text_print(api->facts, &body);
    admin_answer(request, 200, "text/plain; version=0.0.4; charset=utf-8", buf_slice(&body));
    buf_deinit(&body);
}

static void append_listeners(const struct process_facts *facts, struct buf *body)
{
    for (size_t i = 0; i < facts->listener_count; i++) {
        char text[ADDRESS_TEXT_BYTES];
        uint64_t open = 0;

        for (size_t w = 0; w < facts->worker_count; w++)
            open += counter_read(&facts->workers[w].listeners[i].open);
        buf_printf(body, "%s{\"address\":\"", i > 0 ? "," : "");
        buf_append_json_text(body, slice_from_string(address_text(&facts->listeners[i], text)));
        buf_printf(body, "\",\"connections\":%llu}", (unsigned long long)open);
    }
}

static void append_usage(struct buf *body)
{
    struct process_usage usage;

    process_usage_read(&usage);
    buf_printf(body,
               ",\"cpu_seconds\":%.3f,\"resident_bytes\":%llu,\"open_fds\":%llu,\"max_fds\":%llu",
               usage.cpu_s, (unsigned long long)usage.resident_bytes,
               (unsigned long long)usage.open_fds, (unsigned long long)usage.max_fds);
}

static void append_work(const struct process_facts *facts, struct buf *body)
{
    uint64_t streams = 0, agents = 0;

    for (size_t w = 0; w < facts->worker_count; w++) {
        streams += counter_read(&proxy_counters(facts->workers[w].proxy)->calls_open);
        agents += counter_read(&upstream_pool_counters(facts->workers[w].upstreams)->conns_open);
    }
    buf_printf(body, ",\"streams\":%llu,\"agent_connections\":%llu", (unsigned long long)streams,
               (unsigned long long)agents);
    if (facts->workers[0].redis != NULL)
        buf_printf(body, ",\"redis\":{\"links_up\":%llu,\"links\":%zu}",
                   (unsigned long long)process_links_up(facts), facts->worker_count);
}

static void answer_status(struct admin_api *api, struct admin_request *request, struct slice rest)
{
    const struct process_facts *facts = api->facts;
    const char *reason = process_not_ready(facts);
    struct buf body = { 0 };

    (void)rest;
    buf_printf(&body, "{\"version\":\"%s\",\"state\":\"%s\",\"is_ready\":%s", GATEWAY_VERSION,
               facts->is_draining ? "draining" : "serving", reason == NULL ? "true" : "false");
    if (reason != NULL)
        buf_printf(&body, ",\"not_ready\":\"%s\"", reason);
    buf_printf(&body, ",\"uptime_seconds\":%lld,\"workers\":%zu,\"config\":{\"file\":\"",
               (long long)(loop_clock(api->loop)->wall_ms / 1000 - facts->started_wall_s),
               facts->worker_count);
    buf_append_json_text(&body, slice_from_string(facts->config_file));
    buf_printf(&body,
               "\",\"loaded_at\":%lld,\"reloads\":%llu,\"reload_failures\":%llu,"
               "\"last_reload\":\"%s\"},\"listeners\":[",
               (long long)facts->reloaded_wall_s, (unsigned long long)facts->reloads,
               (unsigned long long)facts->reload_failures,
               facts->last_reload_failed ? "failed" : "good");
    append_listeners(facts, &body);
    buf_append_byte(&body, ']');
    append_work(facts, &body);
    append_usage(&body);
    buf_append(&body, SLICE("}\n"));
    admin_answer(request, 200, json, buf_slice(&body));
    buf_deinit(&body);
}

static void answer_keys(struct admin_api *api, struct admin_request *request, struct slice rest)
{
    const struct process_facts *facts = api->facts;
    struct buf body = { 0 };

    (void)rest;
    buf_append(&body, SLICE("{\"keys\":["));
    for (size_t i = 0; i < facts->key_count; i++) {
        const struct key_fact *key = &facts->keys[i];

        buf_printf(&body, "%s{\"kid\":\"%s\",\"alg\":\"%s\",\"file\":\"", i > 0 ? "," : "",
                   key->kid, key->algorithm);
        buf_append_json_text(&body, slice_from_string(key->file));
        buf_printf(&body, "\",\"modified\":%lld", (long long)key->modified_wall_s);
        if (key->expires_wall_s != 0)
            buf_printf(&body, ",\"expires\":%lld", (long long)key->expires_wall_s);
        buf_append_byte(&body, '}');
    }
    buf_append(&body, SLICE("],\"certificates\":["));
    for (size_t i = 0; i < facts->certificate_count; i++) {
        buf_append(&body, i > 0 ? SLICE(",{\"file\":\"") : SLICE("{\"file\":\""));
        buf_append_json_text(&body, slice_from_string(facts->certificates[i].file));
        buf_printf(&body, "\",\"expires\":%lld}", (long long)facts->certificates[i].expires_wall_s);
    }
    buf_append(&body, SLICE("]}\n"));
    admin_answer(request, 200, json, buf_slice(&body));
    buf_deinit(&body);
}

static void append_redis(struct buf *body, const struct route_store_redis_counters *redis)
{
    const struct {
        const char *name;
        const struct counter *counter;
    } rows[] = {
        { "commands", &redis->commands },       { "replies", &redis->replies },
        { "timeouts", &redis->timeouts },       { "connects", &redis->connects },
        { "disconnects", &redis->disconnects }, { "invalidations", &redis->invalidations },
        { "flushes", &redis->flushes },         { "refused_replies", &redis->refused_replies },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        buf_printf(body, ",\"%s\":%llu", rows[i].name,
                   (unsigned long long)counter_read(rows[i].counter));
}

static void answer_redis(struct admin_api *api, struct admin_request *request, struct slice rest)
{
    const struct process_facts *facts = api->facts;
    struct buf body = { 0 };

    (void)rest;
    buf_printf(&body, "{\"source\":\"%s\",\"workers\":[",
               facts->workers[0].redis != NULL ? "redis" : "file");
    for (size_t w = 0; facts->workers[0].redis != NULL && w < facts->worker_count; w++) {
        const struct route_store_redis_counters *redis = facts->workers[w].redis;

        buf_printf(&body, "%s{\"worker\":%zu,\"link\":\"%s\"", w > 0 ? "," : "", w,
                   counter_read(&redis->link_up) != 0 ? "up" : "down");
        append_redis(&body, redis);
        buf_append_byte(&body, '}');
    }
    buf_append(&body, SLICE("]}\n"));
    admin_answer(request, 200, json, buf_slice(&body));
    buf_deinit(&body);
}

static void answer_drain(struct admin_api *api, struct admin_request *request, struct slice rest)
{
    (void)rest;
    admin_answer(request, 202, json, SLICE("{\"state\":\"draining\"}\n"));
    api->drain(api->arg); /* last line: the loop may end with this turn */
}

/* ---- after the workers were asked ---- */

static size_t ask_streams(const struct worker_view *worker, size_t limit, struct slice id,
                          struct buf *into)
{
    (void)id;
    return proxy_list_calls(worker->proxy, limit, into);
}

static size_t ask_connections(const struct worker_view *worker, size_t limit, struct slice id,
                              struct buf *into)
{
    (void)id;
    return http_server_list_conns(worker->server, limit, into);
}

static size_t ask_agents(const struct worker_view *worker, size_t limit, struct slice id,
                         struct buf *into)
{
    (void)id;
    return upstream_pool_list_agents(worker->upstreams, limit, into);
}

static size_t ask_routes(const struct worker_view *worker, size_t limit, struct slice id,
                         struct buf *into)
{
    (void)id;
    return route_resolver_list(worker->routes, limit, into);
}

static size_t ask_to_end(const struct worker_view *worker, size_t limit, struct slice id,
                         struct buf *into)
{
    (void)limit;
    if (!proxy_end_call(worker->proxy, id))
        return 0;
    buf_append(into, SLICE("{\"id\":\""));
    buf_append_json_text(into, id);
    buf_append(into, SLICE("\",\"state\":\"ended\"}"));
    return 1;
}

static const struct gather_question streams = { "streams", ask_streams, NULL };
static const struct gather_question connections = { "connections", ask_connections, NULL };
static const struct gather_question agents = { "agents", ask_agents, NULL };
static const struct gather_question routes = { "routes", ask_routes, NULL };
static const struct gather_question end_stream = { "streams", ask_to_end, "no such stream" };

static void gather(struct admin_api *api, const struct gather_question *question,
                   struct admin_request *request, struct slice id)
{
    uint64_t limit = admin_query_number(request->query, SLICE("limit"), ROWS_DEFAULT);

    gather_start(api, question, limit < ROWS_MAX ? (size_t)limit : ROWS_MAX, id, request);
}

static void answer_streams(struct admin_api *api, struct admin_request *request, struct slice rest)
{
    (void)rest;
    gather(api, &streams, request, SLICE_EMPTY);
}

static void answer_connections(struct admin_api *api, struct admin_request *request,
                               struct slice rest)
{
    (void)rest;
    gather(api, &connections, request, SLICE_EMPTY);
}

static void answer_agents(struct admin_api *api, struct admin_request *request, struct slice rest)
{
    (void)rest;
    gather(api, &agents, request, SLICE_EMPTY);
}

static void answer_routes(struct admin_api *api, struct admin_request *request, struct slice rest)
{
    (void)rest;
    gather(api, &routes, request, SLICE_EMPTY);
}

static void end_one_stream(struct admin_api *api, struct admin_request *request, struct slice rest)
{
    if (rest.len == 0)
        admin_answer_error(request, 400, "invalid_argument", "which stream? DELETE /streams/<id>");
    else
        gather(api, &end_stream, request, rest);
}

/* ---- after the registry was asked ---- */

static void on_records_done(void *arg, unsigned http, struct slice body)
{
    admin_answer(arg, http, json, body);
}

static void on_records_gone(void *arg)
{
    records_forget(arg);
}

static void answer_records(struct admin_api *api, struct admin_request *request, struct slice rest)
{
    const struct records_request ask = { request->method, rest, request->body };

    request->arg = records_start(api->records, &ask, on_records_done, request);
    request->on_gone = on_records_gone;
}

/* ---- the table ---- */

struct admin_path {
    struct slice method; /* empty: every one */
    struct slice path;   /* ends with '/': what follows is `rest` */
    void (*handle)(struct admin_api *api, struct admin_request *request, struct slice rest);
    bool is_public;
};

#define PATH(method, path, handle, is_public)                                                      \
    {                                                                                              \
        { method, sizeof(method) - 1 }, { path, sizeof(path) - 1 }, handle, is_public              \
    }

static const struct admin_path paths[] = {
    PATH("GET", "/livez", answer_livez, true),
    PATH("GET", "/healthz", answer_livez, true),
    PATH("GET", "/readyz", answer_readyz, true),
    PATH("GET", "/metrics", answer_metrics, false),
    PATH("GET", "/status", answer_status, false),
    PATH("GET", "/connections", answer_connections, false),
    PATH("GET", "/agents", answer_agents, false),
    PATH("GET", "/streams", answer_streams, false),
    PATH("DELETE", "/streams/", end_one_stream, false),
    PATH("GET", "/routes", answer_routes, false),
    PATH("GET", "/keys", answer_keys, false),
    PATH("GET", "/redis", answer_redis, false),
    PATH("POST", "/drain", answer_drain, false),
    PATH("", "/v1/computers/", answer_records, false),
};
enum { PATH_COUNT = sizeof(paths) / sizeof(paths[0]) };

static bool path_matches(const struct admin_path *row, struct slice path)
{
    return slice_ends_with(row->path, SLICE("/")) ? slice_starts_with(path, row->path)
                                                  : slice_equal(path, row->path);
}

bool admin_api_is_public(struct slice path)
{
    for (size_t i = 0; i < PATH_COUNT; i++) {
        if (path_matches(&paths[i], path))
            return paths[i].is_public;
    }
    return false;
}

void admin_api_handle(struct admin_api *api, struct admin_request *request)
{
    bool is_head = slice_equal(request->method, SLICE("HEAD"));
    struct slice method = is_head ? SLICE("GET") : request->method;
    bool is_known = false;

    for (size_t i = 0; i < PATH_COUNT; i++) {
        if (!path_matches(&paths[i], request->path))
            continue;
        is_known = true;
        if (paths[i].method.len == 0 || slice_equal(paths[i].method, method)) {
            paths[i].handle(api, request, slice_skip(request->path, paths[i].path.len));
            return;
        }
    }
    if (is_known)
        admin_answer_error(request, 405, "unimplemented", "method is not allowed here");
    else
        admin_answer_error(request, 404, "not_found",
                           "no such path: /livez /readyz /metrics /status /streams /connections "
                           "/agents /routes /keys /redis /drain /v1/computers/<id>");
}

void admin_api_init(struct admin_api *api)
{
    list_init(&api->gathers);
}

void admin_api_close(struct admin_api *api)
{
    gather_give_up(api);
    records_give_up(api->records);
}

void admin_api_deinit(struct admin_api *api)
{
    gather_free_all(api);
}
