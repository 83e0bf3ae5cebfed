/* tests/load/kind_echo.c — interactive sessions: `cat` in the guest, an arrival is a keystroke to one of them, by StreamInput (one
 * call held open for a session) or by SendInput (a call each). Latency: from when the keystroke was due until it is back on the
 * stream of Start. What comes back is counted by bytes: a pipe keeps the order. */
#include <stdio.h>

#include "base/mem.h"
#include "rpc.h"

enum { SETTLE_MS = 500 };

struct session {
    struct request request; /* Start */
    struct request input;   /* StreamInput */
    struct events events;
    struct echo_ring echoes;
    uint64_t number;
    uint64_t back_bytes; /* of the keystroke that is coming back */
    uint32_t pid;
    bool is_held, input_is_open;
};

static void on_input_end(struct request *request, enum outcome outcome)
{
    struct session *session = CONTAINER_OF(request, struct session, input);

    session->input_is_open = false;
    if (!request->run->is_finishing) /* the answer comes after our end, never before */
        run_count_session(request->run, request->due_us,
                          outcome == OUTCOME_OK ? OUTCOME_ENDED_EARLY : outcome);
}

static const struct request_events input_events = { .on_end = on_input_end };

static void open_input(struct session *session)
{
    struct request *request = &session->input;

    request_init(request, session->request.run, &input_events, session->request.due_us);
    request->identity = session->request.identity;
    request->timeout_ms = 0;
    rpc_stream_input(request, session->pid);
    session->input_is_open = true;
    request_start(request);
}

static void came_back(struct session *session, size_t size_bytes)
{
    struct run *run = session->request.run;

    session->back_bytes += size_bytes;
    while (session->back_bytes >= run->load->event_bytes) {
        session->back_bytes -= run->load->event_bytes;
        echo_came(&session->echoes, run);
    }
}

static void on_event(void *owner, const struct process_event *event)
{
    struct session *session = owner;
    struct run *run = session->request.run;

    if (event->kind == EVENT_START && !session->is_held) {
        session->pid = event->pid;
        session->is_held = true;
        run->held_count++;
        request_held(&session->request);
        if (run->load->input == INPUT_BY_STREAM)
            open_input(session);
    } else if (event->kind == EVENT_STDOUT) {
        came_back(session, event->bytes.len);
    }
}

static void on_bytes(struct request *request, struct slice bytes)
{
    struct session *session = CONTAINER_OF(request, struct session, request);

    if (!events_feed(&session->events, bytes))
        request_fail(request, OUTCOME_MALFORMED);
}

static void on_end(struct request *request, enum outcome outcome)
{
    struct session *session = CONTAINER_OF(request, struct session, request);
    struct run *run = request->run;

    outcome = events_outcome(&session->events, outcome);
    if (outcome == OUTCOME_OK)
        outcome = OUTCOME_ENDED_EARLY;
    events_deinit(&session->events);
    if (session->is_held)
        run->held_count--;
    if (!run->is_finishing || !session->is_held)
        run_count_session(run, request->due_us, outcome);
    echo_lost(&session->echoes, run, run->is_finishing ? OUTCOME_UNFINISHED : outcome);
    session->is_held = false;
}

static const struct request_events request_events = { .on_bytes = on_bytes, .on_end = on_end };

static void open_session(struct run *run, uint64_t number, uint64_t due_us)
{
    static const char *const command[] = { "cat", NULL };
    struct session *session =
        &((struct session *)run->state)[number / run->lane->settings->lane_count];
    const struct identities *exec = &run->lane->settings->exec;

    session->number = number;
    request_init(&session->request, run, &request_events, due_us);
    events_init(&session->events, run->load, on_event, session);
    if (run->load->identities == IDENTITY_PER_CALL)
        session->request.identity = run_identity(run, exec, number);
    rpc_start(&session->request, command, SLICE_EMPTY, true);
    request_start(&session->request);
}

/* ---- keystrokes ---- */

static void on_call_end(struct request *request, enum outcome outcome)
{
    if (outcome != OUTCOME_OK &&
        !request->run->is_finishing) /* its echo will not come; the count of bytes would be off */
        run_count(request->run, request->due_us, outcome);
    mem_free(request);
}

static const struct request_events call_events = { .on_end = on_call_end };

static void send_by_call(struct session *session, uint64_t due_us, struct slice bytes)
{
    struct request *request = mem_alloc(sizeof(*request));
    struct buf body = { 0 };

    request_init(request, session->request.run, &call_events, due_us);
    request->identity = session->request.identity;
    buf_printf(&body, "{\"process\":{\"pid\":%u},", session->pid);
    rpc_input_json(&body, bytes);
    buf_append(&body, SLICE("}"));
    rpc_unary(request, METHOD_SEND_INPUT, buf_slice(&body));
    buf_deinit(&body);
    request_start(request);
}

static void send_by_stream(struct session *session, struct slice bytes)
{
    struct buf message = { 0 }, framed = { 0 };

    buf_append(&message, SLICE("{\"data\":{"));
    rpc_input_json(&message, bytes);
    buf_append(&message, SLICE("}}"));
    envelope_append(&framed, 0, buf_slice(&message));
    request_write(&session->input, buf_slice(&framed));
    buf_deinit(&message);
    buf_deinit(&framed);
}

static void arrive(struct run *run, uint64_t number, uint64_t due_us)
{
    static const char letters[4096 + 1] = { 'k' };
    uint64_t index =
        number / run->lane->settings->lane_count % (run->state_count > 0 ? run->state_count : 1);
    struct session *session = &((struct session *)run->state)[index];
    struct slice bytes = slice_of(letters, (size_t)run->load->event_bytes);
    bool by_stream = run->load->input == INPUT_BY_STREAM;

    if (!session->is_held ||
        (by_stream && (!session->input_is_open || session->input.exchange == NULL)) ||
        !echo_sent(&session->echoes, due_us))
        run_count(run, due_us, OUTCOME_OVERRUN);
    else if (by_stream)
        send_by_stream(session, bytes);
    else
        send_by_call(session, due_us, bytes);
}

static void start(struct run *run)
{
    const struct load *load = run->load;
    unsigned lanes = run->lane->settings->lane_count;

    run->openings.limit = load->sessions;
    run->openings.rate =
        (double)load->sessions * 1000 / (double)(load->open_ms > 0 ? load->open_ms : 1);
    run->arrivals.start_us += (load->open_ms + SETTLE_MS) * 1000;
    run->arrivals.end_us -= SETTLE_MS * 1000; /* the last ones come back before the end */
    run->state_count = load->sessions / lanes + (run->lane->index < load->sessions % lanes);
    run->state = mem_zeroed(((size_t)run->state_count + 1) * sizeof(struct session));
    if (run->state_count == 0)
        run->arrivals.rate = 0;
}

static void finish(struct run *run)
{
    struct session *sessions = run->state;

    for (uint64_t i = 0; i < run->state_count; i++) {
        if (sessions[i].input_is_open)
            request_finish(&sessions[i].input);
        if (sessions[i].is_held)
            rpc_kill(run, sessions[i].request.identity, sessions[i].pid);
    }
}

static void destroy(struct run *run)
{
    mem_free(run->state);
}

const struct kind kind_echo = { start, open_session, arrive, finish, destroy };
