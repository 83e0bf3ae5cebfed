/* admin/admin_api.h — what the admin listener answers, without HTTP's details: a table of paths,
 * answered at once, after asking the workers (gather.h), or after asking the registry (records.h). */
#pragma once

#include "admin/process_facts.h"
#include "admin/records.h"

struct admin_request;

/* One request; made by the server, answered exactly once. */
struct admin_request {
    struct slice method, path, query, body; /* borrowed until the answer; path without query */
    void (*answer)(struct admin_request *request, unsigned http, const char *content_type,
                   struct slice body);
    /* Whoever answers later is told when the client goes first; then there is nothing to answer. */
    void (*on_gone)(void *arg);
    void *arg;
};

static inline void admin_answer(struct admin_request *request, unsigned http,
                                const char *content_type, struct slice body)
{
    request->on_gone = NULL;
    request->answer(request, http, content_type, body);
}

/* {"code":…,"message":…}, the shape of the gateway's own errors. */
void admin_answer_error(struct admin_request *request, unsigned http, const char *code,
                        const char *message);

struct admin_api {
    struct loop *loop; /* the main thread's */
    const struct process_facts *facts;
    struct records *records;
    void (*drain)(void *arg);
    void *arg;
    struct list gathers;
};

void admin_api_init(struct admin_api *api);
/* Open requests are answered with 503; workers may still be at work for them. */
void admin_api_close(struct admin_api *api);
/* No worker runs any more. */
void admin_api_deinit(struct admin_api *api);

/* Answers now or later. */
void admin_api_handle(struct admin_api *api, struct admin_request *request);

/* /livez and /readyz: what anybody may ask. */
bool admin_api_is_public(struct slice path);

/* A number of the query, such as limit=100; `fallback` when it is absent or rubbish. */
uint64_t admin_query_number(struct slice query, struct slice name, uint64_t fallback);
