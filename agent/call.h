/* agent/call.h — one exchange of the service: how it reads its request and how it ends (call.c), and what its method does
 * (call_methods.c, call_input.c). Private to process_service.
 *
 *     READING ──▶ STREAMING (Start, Connect) ──▶ ANSWERED ──▶ freed
 *        └──────▶ WAITING (SendInput: for the pipe) ──▶┘
 *
 * A call is freed by a task at the end of the turn, so that any of its callbacks may end it. */
#pragma once

#include "agent/process_service.h"
#include "agent/rpc.h"
#include "connect/envelope.h"

enum call_state { CALL_READING, CALL_WAITING, CALL_STREAMING, CALL_ANSWERED };

struct process_service {
    struct loop *loop;
    struct process_service_options options;
    struct fanout_shared fanout;
    struct process_table *table;
    struct list calls;
};

struct call {
    struct process_service *service;
    struct list link;          /* in service->calls */
    struct exchange *exchange; /* NULL once it was reset */
    struct rpc rpc;
    enum call_state state;
    struct arena arena; /* of the decoded request */
    struct buf message; /* the request: whole, or (Connect unary) as it comes */
    struct envelope_reader reader;
    bool has_message;
    bool is_compressed; /* what `message` holds */
    bool request_ended;
    struct buf error;
    size_t discarded_bytes; /* of a request that goes on after its answer */
    struct timer deadline;
    struct timer linger;
    struct task reap;
    struct subscriber subscriber;
    bool was_dropped; /* as a slow subscriber */
    /* SendInput, StreamInput */
    struct input_job job;
    bool job_waits;
    struct buf writing;      /* what the job borrows */
    struct buf pending;      /* decoded behind it */
    size_t unconsumed_bytes; /* of the request, until they are written */
    struct process *target;  /* StreamInput, after its start: a reference */
};

/* call.c. Takes the exchange; the answer may be given before it returns. */
void call_start(struct process_service *service, enum process_method method,
                struct exchange *exchange);
void call_free(struct call *call);

/* Each ends the call; harmless after the first. */
void call_fail(struct call *call, enum connect_code code, struct slice words);
void call_fail_text(struct call *call, enum connect_code code, const char *words);
void call_reply(struct call *call, struct slice message);
void call_reply_empty(struct call *call);
void call_answered(struct call *call); /* its rpc has ended our direction already */

/* call_methods.c: the whole request of every method but StreamInput. */
void call_run(struct call *call, const struct process_request *request);
/* NULL: the call has been answered with the reason. */
struct process *call_find_running(struct call *call, const struct process_selector *selector);
subscriber_finished_fn call_on_finished;

/* call_input.c: SendInput; each message of StreamInput; the end of what came of them so far. */
void call_send_input(struct call *call, const struct process_request *request);
void call_stream_message(struct call *call, const struct process_request *request);
void call_write_pending(struct call *call);
input_done_fn call_on_input_done;
