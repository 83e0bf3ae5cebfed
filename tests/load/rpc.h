/* tests/load/rpc.h — calls of process.Process on top of request.h, and what the streams of events carry. */
#pragma once

#include "connect/envelope.h"
#include "connect/process_message.h"
#include "run.h"

/* Prepares a unary call in JSON. `body` is copied. */
void rpc_unary(struct request *request, enum process_method method, struct slice body);
/* Prepares Start of the load's command (or of `command`, NULL-terminated, when it has none), with the process's life limited to
 * the run. `tag` may be empty. */
void rpc_start(struct request *request, const char *const *command, struct slice tag,
               bool stdin_open);
void rpc_connect(struct request *request, struct slice tag);
/* Prepares StreamInput to `pid`; the request stays open. */
void rpc_stream_input(struct request *request, uint32_t pid);
void rpc_input_json(struct buf *into,
                    struct slice bytes); /* {"input":{"stdin":"…"}} without the outer braces */

/* Ends a process in the guest and does not mind how that goes. */
void rpc_kill(struct run *run, const struct identity *identity, uint32_t pid);

/* The events of a Start or Connect answer. */
struct events {
    struct envelope_reader reader;
    enum message_codec codec;
    enum outcome end; /* what END_STREAM said */
    bool has_end, has_exit;
    void (*on_event)(void *owner, const struct process_event *event);
    void *owner;
};
void events_init(struct events *events, const struct load *load,
                 void (*on_event)(void *, const struct process_event *), void *owner);
void events_deinit(struct events *events);
/* False: no stream of events. */
MUST_CHECK bool events_feed(struct events *events, struct slice bytes);
/* How the stream really ended, given what the request says. */
enum outcome events_outcome(const struct events *events, enum outcome outcome);

/* Finds the time stamps in the output of exec-load-emit: lines "@<16 digits of µs since 1970> …". */
struct stamps {
    uint64_t value;
    unsigned at; /* place in the line; SKIPPING: to the next line */
};
void stamps_feed(struct stamps *stamps, struct slice bytes, struct run *run);

/* What was sent and has not come back yet, oldest first. */
enum { ECHO_RING = 1024 };
struct echo_ring {
    uint64_t due_us[ECHO_RING];
    unsigned first, count;
};
bool echo_sent(struct echo_ring *ring, uint64_t due_us); /* false: full */
void echo_came(struct echo_ring *ring, struct run *run);
void echo_lost(struct echo_ring *ring, struct run *run, enum outcome outcome); /* all of them */
