/* admin/records_job.h — one request to the registry under way: a chain of steps, each of which sends
 * one command or ends the job. Private to the records_*.c files. */
#pragma once

#include "admin/label.h"
#include "admin/records.h"
#include "base/arena.h"

struct json_t;
struct records_job;

/* `reply` is no error; borrowed until the step returns. */
typedef void records_step_fn(struct records_job *job, const struct redis_reply *reply);

struct records_job {
    struct list link;
    struct records *records;
    struct arena arena; /* whatever a step wants to live as long as the job */
    struct task finish;
    struct redis_command *command;
    records_step_fn *next;
    records_done_fn *on_done; /* NULL: forgotten */
    void *arg;
    struct slice computer, item; /* of the path */
    struct json_t *body;
    struct buf answer;
    unsigned http;
    void *work; /* the operation's own, in the arena */
};

struct records {
    struct loop *loop;
    struct route_store *store; /* owned; NULL: none */
    struct records_options options;
    struct list jobs;
};

/* Each ends the step: nothing follows but `next`, or the answer. */
void records_send(struct records_job *job, records_step_fn *next, const struct slice *words,
                  size_t word_count);
void records_fail(struct records_job *job, unsigned http, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void records_done(struct records_job *job, unsigned http); /* job->answer holds the rest */

/* Keys, in the job's arena. */
struct slice records_key(struct records_job *job, enum record_kind kind, struct slice id);
struct slice records_set_key(struct records_job *job, const char *set); /* "sessions", "ports" */

/* The value of a field in the reply of HGETALL; empty when it is absent. */
struct slice records_field(const struct redis_reply *hash, const char *name);

/* Copies the members of a set (SMEMBERS), at most `limit`, into the arena. */
struct slice *records_members(struct records_job *job, const struct redis_reply *set, size_t limit,
                              size_t *out_count);

int64_t records_now_s(const struct records_job *job);
void records_add_text(struct buf *into, const char *name, struct slice text); /* "name":"text" */
void records_add_time(struct buf *into, const char *name, int64_t wall_s);    /* RFC 3339 */

/* records_body.c. False: the job has failed with 400. */
bool records_body_only(struct records_job *job, const char *const *names); /* NULL-terminated */
/* An absent member leaves *out as it is; texts live as long as the job. */
bool records_body_text(struct records_job *job, const char *name, struct slice *out);

/* "domain": one of ports.domain, or else the first. Empty when the configuration has none. */
bool records_body_domain(struct records_job *job, struct slice *out);
bool records_body_number(struct records_job *job, const char *name, uint64_t min, uint64_t max,
                         uint64_t *out);
bool records_body_parse(struct records_job *job, struct slice text);
void records_body_free(struct records_job *job);

/* Would the gateway understand these fields? False: the job has failed with 400. */
bool records_check(struct records_job *job, enum record_kind kind, struct slice id,
                   const struct record_field *fields, size_t count);

/* handle_wrong(), and what the configuration reserves. */
const char *records_handle_wrong(const struct records_job *job, struct slice handle);

/* The operations. */
void records_computer_put(struct records_job *job);
void records_computer_get(struct records_job *job);
void records_computer_delete(struct records_job *job);
void records_session_create(struct records_job *job);
void records_session_list(struct records_job *job);
void records_session_get(struct records_job *job);
void records_session_delete(struct records_job *job);
void records_port_create(struct records_job *job);
void records_port_list(struct records_job *job);
void records_port_get(struct records_job *job);
void records_port_delete(struct records_job *job);

enum { RECORDS_LIST_MAX = 1000 };
