/* tests/load/kind_unary.c — each arrival is one Connect unary call (`unary`) or one plain HTTP request to a published port (`http`). */
#include <stdio.h>

#include "base/mem.h"
#include "rpc.h"

static void on_end(struct request *request, enum outcome outcome)
{
    run_count(request->run, request->due_us, outcome);
    mem_free(request);
}

static const struct request_events events = { .on_end = on_end };

static struct request *new_request(struct run *run, uint64_t number, uint64_t due_us,
                                   const struct identities *identities)
{
    struct request *request = mem_alloc(sizeof(*request));

    request_init(request, run, &events, due_us);
    request->identities = identities;
    if (run->load->identities == IDENTITY_PER_CALL)
        request->identity = run_identity(run, identities, number);
    return request;
}

static void arrive_unary(struct run *run, uint64_t number, uint64_t due_us)
{
    struct request *request = new_request(run, number, due_us, &run->lane->settings->exec);
    enum process_method *method = run->state;

    rpc_unary(request, *method, slice_from_string(run->load->body));
    request_start(request);
}

static void start_unary(struct run *run)
{
    enum process_method *method = mem_zeroed(sizeof(*method));
    char path[64];

    run->state = method;
    snprintf(path, sizeof(path), "/process.Process/%s", run->load->method);
    if (!process_method_from_path(slice_from_string(path), method))
        *method = METHOD_LIST;
}

static void arrive_http(struct run *run, uint64_t number, uint64_t due_us)
{
    struct request *request = new_request(run, number, due_us, &run->lane->settings->access);

    request->shape = SHAPE_PLAIN;
    request->method = SLICE("GET");
    request->path = slice_from_string(run->load->path);
    request->authority = slice_from_string(run->load->authority);
    request->auth = run->load->auth;
    request_start(request);
}

static void start_nothing(struct run *run)
{
    (void)run;
}

static void destroy(struct run *run)
{
    mem_free(run->state);
}

const struct kind kind_unary = { start_unary, NULL, arrive_unary, start_nothing, destroy };
const struct kind kind_http = { start_nothing, NULL, arrive_http, start_nothing, destroy };
