/* tests/load/kind_stream.c — Start streams held open, each with events at its own rate (`stream`), and processes with many
 * subscribers (`attach`): the first `groups` sessions start a process with a tag, the others attach to one.
 * Latency: from when the session was due to its start event. Events: from the guest's clock to ours. */
#include <stdio.h>

#include "base/mem.h"
#include "rpc.h"

enum { ATTACH_TRIES = 20, ATTACH_RETRY_MS = 100 };

struct session {
    struct request request;
    struct events events;
    struct stamps stamps;
    struct timer retry; /* attach: its process may not have been started yet */
    uint64_t number;
    uint32_t pid;
    unsigned tries;
    bool is_open; /* request and events are in use */
    bool is_held;
    bool is_starter;
    char tag[48];
};

static void begin(struct session *session, struct run *run, uint64_t due_us);

static void leave(struct session *session, enum outcome outcome)
{
    struct run *run = session->request.run;

    if (session->is_held) {
        run->held_count--;
        if (!run->is_finishing)
            run_count_session(run, session->request.due_us,
                              outcome == OUTCOME_OK ? OUTCOME_ENDED_EARLY : outcome);
    } else {
        run_count_session(run, session->request.due_us,
                          outcome == OUTCOME_OK ? OUTCOME_ENDED_EARLY : outcome);
    }
    session->is_held = false;
}

static void on_end(struct request *request, enum outcome outcome)
{
    struct session *session = CONTAINER_OF(request, struct session, request);

    outcome = events_outcome(&session->events, outcome);
    events_deinit(&session->events);
    session->is_open = false;
    if (!session->is_starter && !session->is_held && !request->run->is_finishing &&
        outcome == (enum outcome)CONNECT_NOT_FOUND && ++session->tries < ATTACH_TRIES)
        timer_arm(&session->retry, ATTACH_RETRY_MS);
    else
        leave(session, outcome);
}

static void on_event(void *owner, const struct process_event *event)
{
    struct session *session = owner;
    struct run *run = session->request.run;

    if (event->kind == EVENT_START && !session->is_held) {
        session->pid = event->pid;
        session->is_held = true;
        run->held_count++;
        run_count_session(run, session->request.due_us, OUTCOME_OK);
        request_held(&session->request);
    } else if (event->kind == EVENT_STDOUT) {
        stamps_feed(&session->stamps, event->bytes, run);
    }
}

static void on_bytes(struct request *request, struct slice bytes)
{
    struct session *session = CONTAINER_OF(request, struct session, request);

    if (!events_feed(&session->events, bytes))
        request_fail(request, OUTCOME_MALFORMED);
}

static const struct request_events request_events = { .on_bytes = on_bytes, .on_end = on_end };

static void begin_starter(struct session *session)
{
    struct run *run = session->request.run;
    const struct settings *settings = run->lane->settings;
    uint64_t now = now_us(), end = settings->end_us;
    char rate[32], bytes[16], seconds[16];
    const char *const command[] = { settings->emit_file, rate, bytes, seconds, NULL };

    snprintf(rate, sizeof(rate), "%g", run->load->events);
    snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)run->load->event_bytes);
    snprintf(seconds, sizeof(seconds), "%llu",
             (unsigned long long)((end > now ? end - now : 0) / 1000000 + 30));
    rpc_start(&session->request, command, slice_from_string(session->tag), false);
}

static void begin(struct session *session, struct run *run, uint64_t due_us)
{
    const struct settings *settings = run->lane->settings;

    request_init(&session->request, run, &request_events, due_us);
    events_init(&session->events, run->load, on_event, session);
    session->is_open = true;
    if (run->load->kind == LOAD_ATTACH) { /* the process and its watchers are of one computer */
        uint64_t group = session->number % run->load->groups;
        session->request.identity = run_identity(run, &settings->exec, group);
        snprintf(session->tag, sizeof(session->tag), "load-%s-%llx-%llu", run->load->name,
                 (unsigned long long)settings->begin_us, (unsigned long long)group);
    } else if (run->load->identities == IDENTITY_PER_CALL) {
        session->request.identity = run_identity(run, &settings->exec, session->number);
    }
    if (session->is_starter)
        begin_starter(session);
    else
        rpc_connect(&session->request, slice_from_string(session->tag));
    request_start(&session->request);
}

static void on_retry(struct timer *timer)
{
    struct session *session = CONTAINER_OF(timer, struct session, retry);

    begin(session, session->request.run, session->request.due_us);
}

static void start(struct run *run)
{
    const struct load *load = run->load;
    uint64_t all = load->kind == LOAD_ATTACH ? load->groups * (1 + load->sessions) : load->sessions;
    struct session *sessions;

    run->openings.limit = all;
    run->openings.rate = (double)all * 1000 / (double)(load->open_ms > 0 ? load->open_ms : 1);
    run->state_count = all / run->lane->settings->lane_count + 1;
    sessions = mem_zeroed((size_t)run->state_count * sizeof(*sessions));
    for (uint64_t i = 0; i < run->state_count; i++)
        timer_init(&sessions[i].retry, run->lane->loop, on_retry);
    run->state = sessions;
}

static void open_session(struct run *run, uint64_t number, uint64_t due_us)
{
    struct session *session =
        &((struct session *)run->state)[number / run->lane->settings->lane_count];

    session->number = number;
    session->is_starter = run->load->kind == LOAD_STREAM || number < run->load->groups;
    begin(session, run, due_us);
}

static void finish(struct run *run)
{
    struct session *sessions = run->state;

    for (uint64_t i = 0; i < run->state_count; i++) {
        timer_cancel(&sessions[i].retry);
        if (sessions[i].is_held && sessions[i].is_starter)
            rpc_kill(run, sessions[i].request.identity, sessions[i].pid);
    }
}

static void destroy(struct run *run)
{
    struct session *sessions = run->state;

    for (uint64_t i = 0; i < run->state_count; i++)
        timer_cancel(&sessions[i].retry);
    mem_free(sessions);
}

const struct kind kind_stream = { start, open_session, NULL, finish, destroy };
const struct kind kind_attach = { start, open_session, NULL, finish, destroy };
