/* admin/records_session.c — access sessions: made with a token that is shown once and kept nowhere,
 * listed without it, revoked by DELETE. The set of a computer's sessions is tidied up when it is
 * listed: expired ones have gone by themselves. */
#include <stdio.h>
#include <sys/random.h>

#include "admin/records_job.h"
#include "auth/token_mint.h"

enum { TTL_DEFAULT_S = 3600, TTL_MAX_S = 30 * 86400, LINGER_S = 86400 };

struct making {
    struct slice id, kind, user, label;
    struct slice domain;   /* of ports; empty: none is configured */
    struct slice hostname; /* empty: exec */
    struct slice token;
    int64_t created_s, expires_s;
};

static bool is_exec(const struct making *making)
{
    return slice_equal(making->kind, SLICE("exec"));
}

/* ---- the answer ---- */

static void add_exec(struct records_job *job, const struct making *making)
{
    const char *url = job->records->options.connect_url;

    buf_append_byte(&job->answer, ',');
    records_add_text(&job->answer, "connect_url", slice_from_string(url));
    buf_append_byte(&job->answer, ',');
    records_add_text(&job->answer, "connect_token", making->token);
    buf_append(&job->answer,
               SLICE(",\"transport\":{\"protocol\":\"connectrpc\",\"service\":\"process.Process\","
                     "\"base_path\":\"/process.Process/\",\"capabilities\":[\"process\"]}"));
    buf_printf(&job->answer, ",\"access_url\":\"%s/?access_token=%.*s\"", url,
               SLICE_ARGS(making->token));
}

static void answer_made(struct records_job *job, const struct making *making)
{
    buf_append(&job->answer, SLICE("{\"session\":{"));
    records_add_text(&job->answer, "id", making->id);
    buf_append_byte(&job->answer, ',');
    records_add_text(&job->answer, "computer_id", job->computer);
    buf_append_byte(&job->answer, ',');
    records_add_text(&job->answer, "kind", making->kind);
    if (is_exec(making))
        add_exec(job, making);
    else
        buf_printf(&job->answer, ",\"access_url\":\"https://%.*s/?access_token=%.*s\"",
                   SLICE_ARGS(making->hostname), SLICE_ARGS(making->token));
    buf_append_byte(&job->answer, ',');
    records_add_time(&job->answer, "created_at", making->created_s);
    buf_append_byte(&job->answer, ',');
    records_add_time(&job->answer, "expires_at", making->expires_s);
    buf_append(&job->answer, SLICE("}}"));
    records_done(job, 201);
}

/* ---- making one: read the computer ▸ index ▸ record ▸ its end ---- */

static void on_written(struct records_job *job, const struct redis_reply *reply)
{
    (void)reply;
    answer_made(job, job->work);
}

static void set_end(struct records_job *job, const struct redis_reply *reply)
{
    const struct making *making = job->work;
    const struct slice words[] = {
        SLICE("EXPIREAT"),
        records_key(job, RECORD_SESSION, making->id),
        arena_printf(&job->arena, "%lld", (long long)making->expires_s + LINGER_S),
    };

    (void)reply;
    records_send(job, on_written, words, 3);
}

static void write_record(struct records_job *job, const struct redis_reply *reply)
{
    const struct making *making = job->work;
    const struct slice words[] = {
        SLICE("HSET"),       records_key(job, RECORD_SESSION, making->id),
        SLICE("kind"),       making->kind,
        SLICE("computer"),   job->computer,
        SLICE("user"),       making->user,
        SLICE("port"),       making->label,
        SLICE("created_at"), arena_printf(&job->arena, "%lld", (long long)making->created_s),
        SLICE("expires_at"), arena_printf(&job->arena, "%lld", (long long)making->expires_s),
    };

    (void)reply;
    records_send(job, set_end, words, sizeof(words) / sizeof(words[0]));
}

static char *text_of(struct records_job *job, struct slice text)
{
    return text.len > 0
               ? (char *)(uintptr_t)arena_printf(&job->arena, "%.*s%c", SLICE_ARGS(text), 0).ptr
               : NULL;
}

static bool mint(struct records_job *job, struct making *making)
{
    static const char *const capabilities[] = { "process", NULL };
    const struct records_options *options = &job->records->options;
    struct token_claims claims = {
        .issuer = options->issuer,
        .audience = is_exec(making) ? options->exec_audience : options->access_audience,
        .session_id = text_of(job, making->id),
        .computer_id = text_of(job, job->computer),
        .user_id = text_of(job, making->user),
        .kind = text_of(job, making->kind),
        .capabilities = is_exec(making) ? capabilities : NULL,
        .port = text_of(job, making->label),
        .issued_wall_s = making->created_s,
        .expires_wall_s = making->expires_s,
    };
    struct buf words = { 0 }, token = { 0 };
    enum status status = token_mint(&claims, &options->signing_key, &words, &token);

    if (status == STATUS_OK)
        making->token = arena_copy(&job->arena, buf_slice(&token));
    else
        records_fail(job, 500, "internal", "the token cannot be signed: %s", buf_text(&words));
    buf_deinit(&words);
    buf_deinit(&token);
    return status == STATUS_OK;
}

static void make_id(struct records_job *job, struct making *making)
{
    unsigned char random[16];
    char text[2 * sizeof(random) + 1];

    ENSURE(getrandom(random, sizeof(random), 0) == (ssize_t)sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(text + 2 * i, 3, "%02x", random[i]);
    making->id = arena_printf(&job->arena, "ses_%s", text);
}

/* Where a browser goes: the label's host, or the computer's own. */
static bool find_hostname(struct records_job *job, struct making *making, struct slice handle)
{
    struct buf name = { 0 };
    bool is_good = true;

    if (is_exec(making))
        return true;
    if (making->domain.len == 0 || handle.len == 0) {
        records_fail(job, 409, "failed_precondition",
                     making->domain.len == 0 ? "ports.domain is not configured"
                                             : "the computer has no handle");
        return false;
    }
    if (making->label.len > 0)
        is_good = port_hostname(making->label, handle, making->domain, &name);
    else
        buf_printf(&name, "%.*s.%.*s", SLICE_ARGS(handle), SLICE_ARGS(making->domain));
    if (is_good)
        making->hostname = arena_copy(&job->arena, buf_slice(&name));
    else
        records_fail(job, 400, "invalid_argument",
                     "label and handle together are longer than a DNS label");
    buf_deinit(&name);
    return is_good;
}

static void on_computer(struct records_job *job, const struct redis_reply *reply)
{
    struct making *making = job->work;

    if (reply->item_count == 0 || slice_equal(records_field(reply, "state"), SLICE("deleted"))) {
        records_fail(job, 404, "not_found", "no such computer");
        return;
    }
    make_id(job, making);
    if (!find_hostname(job, making, records_field(reply, "handle")) || !mint(job, making))
        return;
    const struct slice words[] = { SLICE("SADD"), records_set_key(job, "sessions"), making->id };

    records_send(job, write_record, words, 3);
}

static bool read_place(struct records_job *job, struct making *making)
{
    uint64_t port = 0;
    const char *wrong = NULL;
    struct slice named = SLICE_EMPTY;

    if (!records_body_number(job, "port", 1, 65535, &port) ||
        !records_body_text(job, "label", &making->label) ||
        !records_body_text(job, "domain", &named) || !records_body_domain(job, &making->domain))
        return false;
    if ((port != 0 || making->label.len > 0 || named.len > 0) && is_exec(making)) {
        records_fail(job, 400, "invalid_argument", "exec sessions have no port");
        return false;
    }
    if (making->label.len > 0)
        wrong = port_label_wrong(making->label, (uint16_t)port);
    else if (port != 0)
        making->label = arena_printf(&job->arena, "%u", (unsigned)port);
    if (wrong != NULL)
        records_fail(job, 400, "invalid_argument", "label: %s", wrong);
    return wrong == NULL;
}

static bool read_body(struct records_job *job, struct making *making)
{
    static const char *const names[] = { "kind", "user",  "ttl_seconds", "ttl",
                                         "port", "label", "domain",      NULL };
    uint64_t ttl_s = TTL_DEFAULT_S;

    making->kind = SLICE("exec");
    if (!records_body_only(job, names) || !records_body_text(job, "kind", &making->kind) ||
        !records_body_text(job, "user", &making->user) ||
        !records_body_number(job, "ttl", 1, TTL_MAX_S, &ttl_s) ||
        !records_body_number(job, "ttl_seconds", 1, TTL_MAX_S, &ttl_s))
        return false;
    making->created_s = records_now_s(job);
    making->expires_s = making->created_s + (int64_t)ttl_s;
    if (!is_exec(making) && !slice_equal(making->kind, SLICE("browser")) &&
        !slice_equal(making->kind, SLICE("vnc"))) {
        records_fail(job, 400, "invalid_argument", "kind: expected exec, browser or vnc");
        return false;
    }
    const struct record_field fields[] = { { SLICE("kind"), making->kind },
                                           { SLICE("computer"), job->computer },
                                           { SLICE("user"), making->user } };

    return records_check(job, RECORD_SESSION, SLICE("new"), fields, 3) && read_place(job, making);
}

void records_session_create(struct records_job *job)
{
    struct making *making = arena_alloc(&job->arena, sizeof(*making));
    const struct slice words[] = { SLICE("HGETALL"),
                                   records_key(job, RECORD_COMPUTER, job->computer) };

    *making = (struct making){ 0 };
    job->work = making;
    if (job->records->options.signing_key.kid == NULL)
        records_fail(job, 409, "failed_precondition", "admin.signing_key is not configured");
    else if (read_body(job, making))
        records_send(job, on_computer, words, 2);
}

/* ---- reading ---- */

static void add_session(struct records_job *job, struct slice id, const struct redis_reply *hash)
{
    static const char *const texts[] = { "kind", "user", "port" };
    struct buf *answer = &job->answer;
    uint64_t created_s = 0, expires_s = 0;
    struct slice revoked = records_field(hash, "revoked");

    buf_append_byte(answer, '{');
    records_add_text(answer, "id", id);
    buf_append_byte(answer, ',');
    records_add_text(answer, "computer_id", records_field(hash, "computer"));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct slice value = records_field(hash, texts[i]);

        if (value.len == 0)
            continue;
        buf_append_byte(answer, ',');
        records_add_text(answer, texts[i], value);
    }
    if (slice_to_u64(records_field(hash, "created_at"), &created_s)) {
        buf_append_byte(answer, ',');
        records_add_time(answer, "created_at", (int64_t)created_s);
    }
    if (slice_to_u64(records_field(hash, "expires_at"), &expires_s)) {
        buf_append_byte(answer, ',');
        records_add_time(answer, "expires_at", (int64_t)expires_s);
    }
    buf_printf(answer, ",\"state\":\"%s\"}",
               revoked.len > 0 && !slice_equal(revoked, SLICE("0"))        ? "revoked"
               : expires_s != 0 && (int64_t)expires_s < records_now_s(job) ? "expired"
                                                                           : "active");
}

static bool is_of_computer(const struct records_job *job, const struct redis_reply *hash)
{
    return hash->item_count > 0 && slice_equal(records_field(hash, "computer"), job->computer);
}

static void on_one(struct records_job *job, const struct redis_reply *reply)
{
    if (!is_of_computer(job, reply)) {
        records_fail(job, 404, "not_found", "no such session of this computer");
        return;
    }
    buf_append(&job->answer, SLICE("{\"session\":"));
    add_session(job, job->item, reply);
    buf_append_byte(&job->answer, '}');
    records_done(job, 200);
}

static void read_session(struct records_job *job, struct slice id, records_step_fn *next)
{
    const struct slice words[] = { SLICE("HGETALL"), records_key(job, RECORD_SESSION, id) };

    records_send(job, next, words, 2);
}

void records_session_get(struct records_job *job)
{
    read_session(job, job->item, on_one);
}

struct listing {
    struct slice *ids;
    size_t count, at, written, gone_count;
};

static void end_list(struct records_job *job, const struct redis_reply *reply)
{
    (void)reply;
    buf_append(&job->answer, SLICE("]}"));
    records_done(job, 200);
}

/* Ids whose record has gone were moved to the front of `ids`. */
static void tidy_up(struct records_job *job)
{
    const struct listing *listing = job->work;
    struct slice *words = arena_alloc(&job->arena, (2 + listing->gone_count) * sizeof(*words));

    if (listing->gone_count == 0) {
        end_list(job, NULL);
        return;
    }
    words[0] = SLICE("SREM");
    words[1] = records_set_key(job, "sessions");
    memcpy(words + 2, listing->ids, listing->gone_count * sizeof(*words));
    records_send(job, end_list, words, 2 + listing->gone_count);
}

static void on_listed(struct records_job *job, const struct redis_reply *reply)
{
    struct listing *listing = job->work;
    struct slice id = listing->ids[listing->at++];

    if (!is_of_computer(job, reply)) {
        listing->ids[listing->gone_count++] = id;
    } else {
        if (listing->written++ > 0)
            buf_append_byte(&job->answer, ',');
        add_session(job, id, reply);
    }
    if (listing->at < listing->count)
        read_session(job, listing->ids[listing->at], on_listed);
    else
        tidy_up(job);
}

static void on_set(struct records_job *job, const struct redis_reply *reply)
{
    struct listing *listing = job->work;

    listing->ids = records_members(job, reply, RECORDS_LIST_MAX, &listing->count);
    buf_append(&job->answer, SLICE("{\"sessions\":["));
    if (listing->count > 0)
        read_session(job, listing->ids[0], on_listed);
    else
        end_list(job, NULL);
}

void records_session_list(struct records_job *job)
{
    const struct slice words[] = { SLICE("SMEMBERS"), records_set_key(job, "sessions") };
    struct listing *listing = arena_alloc(&job->arena, sizeof(*listing));

    *listing = (struct listing){ 0 };
    job->work = listing;
    records_send(job, on_set, words, 2);
}

/* ---- revoking ---- */

static void on_revoked(struct records_job *job, const struct redis_reply *reply)
{
    (void)reply;
    buf_append_byte(&job->answer, '{');
    records_add_text(&job->answer, "id", job->item);
    buf_append(&job->answer, SLICE(",\"state\":\"revoked\"}"));
    records_done(job, 200);
}

static void leave_set(struct records_job *job, const struct redis_reply *reply)
{
    const struct slice words[] = { SLICE("SREM"), records_set_key(job, "sessions"), job->item };

    (void)reply;
    records_send(job, on_revoked, words, 3);
}

/* The record stays, revoked, until the token is certainly over: where sessions are optional, an
 * absent record would let the token in. */
static void set_revoked_end(struct records_job *job, const struct redis_reply *reply)
{
    const struct slice words[] = { SLICE("EXPIREAT"), records_key(job, RECORD_SESSION, job->item),
                                   *(const struct slice *)job->work };

    (void)reply;
    records_send(job, leave_set, words, 3);
}

static void revoke(struct records_job *job, const struct redis_reply *reply)
{
    const struct slice words[] = { SLICE("HSET"), records_key(job, RECORD_SESSION, job->item),
                                   SLICE("revoked"), SLICE("1") };
    struct slice *end = arena_alloc(&job->arena, sizeof(*end));
    uint64_t expires_s = 0;

    if (!is_of_computer(job, reply)) {
        records_fail(job, 404, "not_found", "no such session of this computer");
        return;
    }
    if (!slice_to_u64(records_field(reply, "expires_at"), &expires_s))
        expires_s = (uint64_t)records_now_s(job) + TTL_MAX_S;
    *end = arena_printf(&job->arena, "%llu", (unsigned long long)expires_s + LINGER_S);
    job->work = end;
    records_send(job, set_revoked_end, words, 4);
}

void records_session_delete(struct records_job *job)
{
    read_session(job, job->item, revoke);
}
