/* admin/records.h — the registry's records in the shapes of the public API, for the admin listener
 * and for the commands `computer`, `session`, `port`: the same requests, the same answers.
 *
 *     PUT|GET|DELETE  <computer>
 *     POST|GET        <computer>/access-sessions        GET|DELETE  …/access-sessions/<session>
 *     POST|GET        <computer>/ports                  GET|DELETE  …/ports/<port or label>
 *
 * Writes go to Redis. Beside the records that the gateway reads (docs/redis.md), two sets say what
 * belongs to a computer: `computer-sessions:{<id>}` and `computer-ports:{<id>}`. On the thread of
 * its loop. */
#pragma once

#include "auth/key_store.h"
#include "route/route_store_redis.h"

struct records;

struct records_options { /* texts are borrowed until they are set anew */
    const char *prefix;  /* of every key */
    const char *issuer, *exec_audience, *access_audience;
    struct key_options signing_key;      /* kid NULL: there is none, sessions cannot be made */
    const char *const *ports_domains;    /* the first is meant when none is named */
    size_t ports_domain_count;           /* 0: ports cannot be published */
    const char *connect_url;             /* without final slash */
    const char *const *reserved_handles; /* beside those that are always reserved */
    size_t reserved_handle_count;
};

/* Takes `store`; NULL when the routes do not come from Redis: then everything is refused with 409. */
struct records *records_create(struct loop *loop, struct route_store *store,
                               const struct records_options *options);
void records_set_options(struct records *records, const struct records_options *options);
void records_give_up(struct records *records);  /* what is under way is answered with 503, now */
void records_destroy(struct records **records); /* open jobs end without answer */

struct records_request {
    struct slice method;
    struct slice path; /* what follows /v1/computers/ */
    struct slice body; /* JSON, or empty */
};

/* `body` is JSON and ends with a newline. */
typedef void records_done_fn(void *arg, unsigned http, struct slice body);

/* Exactly one follows: on_done runs once, on a later turn; or records_forget(): what was begun goes
 * on, nobody is told. Copies the request. */
struct records_job;
struct records_job *records_start(struct records *records, const struct records_request *request,
                                  records_done_fn *on_done, void *arg);
void records_forget(struct records_job *job);
