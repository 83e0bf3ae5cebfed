/* admin/records.c — see records.h: the table of what can be asked, and the life of a job. The
 * operations are in records_computer.c, records_session.c and records_port.c. */
#include "admin/records.h"

#include <stdio.h>
#include <time.h>

#include "admin/records_job.h"
#include "base/mem.h"

enum { ID_BYTES_MAX = 128 };

/* ---- life ---- */

struct records *records_create(struct loop *loop, struct route_store *store,
                               const struct records_options *options)
{
    struct records *records = mem_zeroed(sizeof(*records));

    records->loop = loop;
    records->store = store;
    records->options = *options;
    list_init(&records->jobs);
    return records;
}

void records_set_options(struct records *records, const struct records_options *options)
{
    records->options = *options;
}

static void job_free(struct records_job *job)
{
    list_unlink(&job->link);
    task_cancel(&job->finish);
    route_store_redis_cancel(&job->command);
    records_body_free(job);
    buf_deinit(&job->answer);
    arena_deinit(&job->arena);
    mem_free(job);
}

static void job_finish(struct task *task)
{
    struct records_job *job = CONTAINER_OF(task, struct records_job, finish);

    if (job->on_done != NULL)
        job->on_done(job->arg, job->http, buf_slice(&job->answer));
    job_free(job);
}

void records_destroy(struct records **records)
{
    struct records *r = *records;

    if (r == NULL)
        return;
    while (!list_is_empty(&r->jobs))
        job_free(LIST_FIRST(&r->jobs, struct records_job, link));
    route_store_destroy(&r->store);
    mem_free(r);
    *records = NULL;
}

void records_give_up(struct records *records)
{
    while (!list_is_empty(&records->jobs)) {
        struct records_job *job = LIST_FIRST(&records->jobs, struct records_job, link);

        if (job->http == 0)
            records_fail(job, 503, "unavailable", "the gateway is ending");
        job_finish(&job->finish);
    }
}

void records_forget(struct records_job *job)
{
    job->on_done = NULL;
}

/* ---- what steps use ---- */

void records_done(struct records_job *job, unsigned http)
{
    job->http = http;
    buf_append_byte(&job->answer, '\n');
    task_defer_next(job->records->loop, &job->finish);
}

void records_fail(struct records_job *job, unsigned http, const char *code, const char *format, ...)
{
    struct buf words = { 0 };
    va_list arguments;

    va_start(arguments, format);
    buf_vprintf(&words, format, arguments);
    va_end(arguments);
    buf_clear(&job->answer);
    buf_printf(&job->answer, "{\"code\":\"%s\",\"message\":\"", code);
    buf_append_json_text(&job->answer, buf_slice(&words));
    buf_append(&job->answer, SLICE("\"}"));
    buf_deinit(&words);
    records_done(job, http);
}

static void on_reply(void *arg, enum status status, const struct redis_reply *reply)
{
    struct records_job *job = arg;

    job->command = NULL;
    if (status != STATUS_OK)
        records_fail(job, 503, "unavailable",
                     "Redis cannot be reached; what was asked may have been done in part");
    else if (reply->kind == REDIS_ERROR)
        records_fail(job, 502, "internal", "Redis refused: %.*s",
                     SLICE_ARGS(slice_first(reply->text, 200)));
    else
        job->next(job, reply);
}

void records_send(struct records_job *job, records_step_fn *next, const struct slice *words,
                  size_t word_count)
{
    job->next = next;
    job->command = route_store_redis_command(job->records->store, words, word_count, on_reply, job);
}

struct slice records_key(struct records_job *job, enum record_kind kind, struct slice id)
{
    return arena_printf(&job->arena, "%s%s:{%.*s}", job->records->options.prefix,
                        record_kind_text(kind), SLICE_ARGS(id));
}

struct slice records_set_key(struct records_job *job, const char *set)
{
    return arena_printf(&job->arena, "%scomputer-%s:{%.*s}", job->records->options.prefix, set,
                        SLICE_ARGS(job->computer));
}

struct slice records_field(const struct redis_reply *hash, const char *name)
{
    for (size_t i = 0; i + 1 < hash->item_count; i += 2) {
        if (slice_equal(hash->items[i].text, slice_from_string(name)))
            return hash->items[i + 1].text;
    }
    return SLICE_EMPTY;
}

struct slice *records_members(struct records_job *job, const struct redis_reply *set, size_t limit,
                              size_t *out_count)
{
    size_t count = set->item_count < limit ? set->item_count : limit;
    struct slice *members = arena_alloc(&job->arena, (count + 1) * sizeof(*members));

    for (size_t i = 0; i < count; i++)
        members[i] = arena_copy(&job->arena, set->items[i].text);
    *out_count = count;
    return members;
}

int64_t records_now_s(const struct records_job *job)
{
    return loop_clock(job->records->loop)->wall_ms / 1000;
}

void records_add_text(struct buf *into, const char *name, struct slice text)
{
    buf_printf(into, "\"%s\":\"", name);
    buf_append_json_text(into, text);
    buf_append_byte(into, '"');
}

void records_add_time(struct buf *into, const char *name, int64_t wall_s)
{
    time_t seconds = (time_t)wall_s;
    struct tm parts;
    char text[40] = "";

    if (gmtime_r(&seconds, &parts) != NULL) /* a record may hold any number */
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
    buf_printf(into, "\"%s\":\"%s\"", name, text);
}

const char *records_handle_wrong(const struct records_job *job, struct slice handle)
{
    const struct records_options *options = &job->records->options;
    const char *wrong = handle_wrong(handle);

    for (size_t i = 0; wrong == NULL && i < options->reserved_handle_count; i++) {
        if (slice_equal(handle, slice_from_string(options->reserved_handles[i])))
            wrong = "this name is reserved";
    }
    return wrong;
}

bool records_check(struct records_job *job, enum record_kind kind, struct slice id,
                   const struct record_field *fields, size_t count)
{
    struct slice wrong = SLICE_EMPTY;
    struct record *record = NULL;

    if (record_from_fields(kind, id, fields, count, &wrong, &record) != STATUS_OK) {
        records_fail(job, 400, "invalid_argument", "%.*s: missing, or a value that is not allowed",
                     SLICE_ARGS(wrong));
        return false;
    }
    record_unref(&record);
    return true;
}

/* ---- what can be asked ---- */

struct operation {
    const char *method;
    const char *collection; /* "": the computer itself */
    bool has_item;
    void (*run)(struct records_job *job);
};

static const struct operation operations[] = {
    { "PUT", "", false, records_computer_put },
    { "GET", "", false, records_computer_get },
    { "DELETE", "", false, records_computer_delete },
    { "POST", "access-sessions", false, records_session_create },
    { "GET", "access-sessions", false, records_session_list },
    { "GET", "access-sessions", true, records_session_get },
    { "DELETE", "access-sessions", true, records_session_delete },
    { "POST", "ports", false, records_port_create },
    { "GET", "ports", false, records_port_list },
    { "GET", "ports", true, records_port_get },
    { "DELETE", "ports", true, records_port_delete },
};

static bool is_id(struct slice text)
{
    if (text.len == 0 || text.len > ID_BYTES_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-' || c == '.'))
            return false;
    }
    return true;
}

static void run(struct records_job *job, struct slice method, struct slice path)
{
    struct slice rest = path;
    bool is_known = false;

    job->computer = slice_cut(&rest, '/');
    struct slice collection = slice_cut(&rest, '/');

    job->item = rest;
    if (!is_id(job->computer) || (job->item.len > 0 && !is_id(job->item))) {
        records_fail(job, 400, "invalid_argument",
                     "ids are 1 to 128 letters, digits, hyphens, underscores and dots");
        return;
    }
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        const struct operation *operation = &operations[i];

        if (!slice_equal(collection, slice_from_string(operation->collection)) ||
            operation->has_item != (job->item.len > 0))
            continue;
        is_known = true;
        if (slice_equal(method, slice_from_string(operation->method))) {
            operation->run(job);
            return;
        }
    }
    if (is_known)
        records_fail(job, 405, "unimplemented", "method is not allowed here");
    else
        records_fail(job, 404, "not_found",
                     "no such path: /v1/computers/<id>[/access-sessions[/<id>]|/ports[/<port>]]");
}

struct records_job *records_start(struct records *records, const struct records_request *request,
                                  records_done_fn *on_done, void *arg)
{
    struct records_job *job = mem_zeroed(sizeof(*job));

    job->records = records;
    job->on_done = on_done;
    job->arg = arg;
    arena_init(&job->arena, NULL, 0);
    task_init(&job->finish, job_finish);
    list_append(&records->jobs, &job->link);
    if (records->store == NULL)
        records_fail(job, 409, "failed_precondition",
                     "records are written to Redis only, and routes.source is a file here: edit "
                     "the file, it is watched for change");
    else if (records_body_parse(job, request->body))
        run(job, arena_copy(&job->arena, request->method), arena_copy(&job->arena, request->path));
    return job;
}
