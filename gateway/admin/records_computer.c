/* admin/records_computer.c — the record of a computer. PUT sets what the body names and takes away
 * what it does not; the key itself never goes in between, so that open streams live on. */
#include "admin/records_job.h"

static const char *const names[] = { "state", "agent",  "protocol", "tls", "agent_token",
                                     "boot",  "handle", "owner",    NULL };
enum { NAME_COUNT = 8, NAME_AGENT_TOKEN = 4 };

/* The token goes in, and never out. */
static void answer_hash(struct records_job *job, const struct redis_reply *hash)
{
    buf_append(&job->answer, SLICE("{\"computer\":{"));
    records_add_text(&job->answer, "id", job->computer);
    for (size_t i = 0; i < NAME_COUNT; i++) {
        struct slice value = records_field(hash, names[i]);

        if (value.len == 0 || i == NAME_AGENT_TOKEN)
            continue;
        buf_append_byte(&job->answer, ',');
        records_add_text(&job->answer, names[i], value);
    }
    buf_printf(&job->answer, ",\"has_agent_token\":%s}}",
               records_field(hash, "agent_token").len > 0 ? "true" : "false");
    records_done(job, 200);
}

static void on_read(struct records_job *job, const struct redis_reply *reply)
{
    if (reply->item_count == 0)
        records_fail(job, 404, "not_found", "no such computer");
    else
        answer_hash(job, reply);
}

void records_computer_get(struct records_job *job)
{
    const struct slice words[] = { SLICE("HGETALL"),
                                   records_key(job, RECORD_COMPUTER, job->computer) };

    records_send(job, on_read, words, 2);
}

static void read_back(struct records_job *job, const struct redis_reply *reply)
{
    (void)reply;
    records_computer_get(job);
}

struct put {
    struct slice absent[NAME_COUNT];
    size_t absent_count;
};

static void take_away(struct records_job *job, const struct redis_reply *reply)
{
    const struct put *put = job->work;
    struct slice words[2 + NAME_COUNT] = { SLICE("HDEL"),
                                           records_key(job, RECORD_COMPUTER, job->computer) };

    (void)reply;
    if (put->absent_count == 0) {
        records_computer_get(job);
        return;
    }
    memcpy(words + 2, put->absent, put->absent_count * sizeof(put->absent[0]));
    records_send(job, read_back, words, 2 + put->absent_count);
}

static bool handle_is_good(struct records_job *job, struct slice handle)
{
    const char *wrong = handle.len > 0 ? records_handle_wrong(job, handle) : NULL;

    if (wrong != NULL)
        records_fail(job, 400, "invalid_argument", "handle: %s", wrong);
    return wrong == NULL;
}

void records_computer_put(struct records_job *job)
{
    struct put *put = arena_alloc(&job->arena, sizeof(*put));
    struct record_field fields[NAME_COUNT];
    struct slice words[2 + 2 * NAME_COUNT] = { SLICE("HSET"),
                                               records_key(job, RECORD_COMPUTER, job->computer) };
    size_t count = 0;

    put->absent_count = 0;
    job->work = put;
    if (!records_body_only(job, names))
        return;
    for (size_t i = 0; i < NAME_COUNT; i++) {
        struct slice value = SLICE_EMPTY, name = slice_from_string(names[i]);

        if (!records_body_text(job, names[i], &value))
            return;
        if (value.len == 0) {
            put->absent[put->absent_count++] = name;
            continue;
        }
        words[2 + 2 * count] = name;
        words[3 + 2 * count] = value;
        fields[count++] = (struct record_field){ name, value };
        if (slice_equal(name, SLICE("handle")) && !handle_is_good(job, value))
            return;
    }
    if (records_check(job, RECORD_COMPUTER, job->computer, fields, count))
        records_send(job, take_away, words, 2 + 2 * count);
}

/* ---- delete: the computer, its sessions, its hosts, in one command ---- */

struct removal {
    struct slice *sessions;
    size_t session_count;
};

static void on_removed(struct records_job *job, const struct redis_reply *reply)
{
    if (reply->integer == 0) {
        records_fail(job, 404, "not_found", "no such computer");
        return;
    }
    buf_append_byte(&job->answer, '{');
    records_add_text(&job->answer, "id", job->computer);
    buf_append(&job->answer, SLICE(",\"deleted\":true}"));
    records_done(job, 200);
}

static void on_ports(struct records_job *job, const struct redis_reply *reply)
{
    const struct removal *removal = job->work;
    size_t port_count;
    struct slice *ports = records_members(job, reply, RECORDS_LIST_MAX, &port_count);
    size_t word_count = 4 + removal->session_count + port_count;
    struct slice *words = arena_alloc(&job->arena, word_count * sizeof(*words));
    size_t at = 0;

    words[at++] = SLICE("DEL");
    words[at++] = records_key(job, RECORD_COMPUTER, job->computer);
    for (size_t i = 0; i < removal->session_count; i++)
        words[at++] = records_key(job, RECORD_SESSION, removal->sessions[i]);
    for (size_t i = 0; i < port_count; i++)
        words[at++] = records_key(job, RECORD_HOST, ports[i]);
    words[at++] = records_set_key(job, "sessions");
    words[at++] = records_set_key(job, "ports");
    records_send(job, on_removed, words, at);
}

static void on_sessions(struct records_job *job, const struct redis_reply *reply)
{
    struct removal *removal = job->work;
    const struct slice words[] = { SLICE("SMEMBERS"), records_set_key(job, "ports") };

    removal->sessions = records_members(job, reply, RECORDS_LIST_MAX, &removal->session_count);
    records_send(job, on_ports, words, 2);
}

void records_computer_delete(struct records_job *job)
{
    const struct slice words[] = { SLICE("SMEMBERS"), records_set_key(job, "sessions") };

    job->work = arena_alloc(&job->arena, sizeof(struct removal));
    records_send(job, on_sessions, words, 2);
}
