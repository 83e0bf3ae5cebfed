/* proxy/call.h — our work on one exchange:
 *
 *     (finding) ─▶ authorizing ─▶ resolving ─▶ (collecting) ─▶ connecting ─▶ relaying ─▶ finishing ─▶ closed
 *                    └─▶ (waking) ─┘                ▲    │         │
 *                                                   └─ retrying ◀──┘        any ─▶ replying ─▶
 * closed
 *
 * What kinds of calls differ in — how they are authorised, where they go, how the request to the
 * agent looks — is a call_kind: exec, or a published port (port_call.h). The call lives
 * in the arena of the client's exchange and goes with it; every entry from the loop is bracketed by
 * call_enter() and call_leave(), and after the last leave of a closed call its memory is gone. */
#pragma once

#include "auth/principal.h"
#include "net/timer.h"
#include "proxy/call_state.h"
#include "proxy/conn_memo.h"
#include "proxy/exec_request.h"
#include "proxy/proxy_internal.h"
#include "proxy/relay.h"
#include "proxy/reply.h"

struct call;
struct plain_call;
struct port_call;

struct call_kind {
    const char *name;
    /* AUTHORIZING. OK: principal is set (NULL where a route is public). AGAIN: it has answered by
     * itself. */
    enum status (*authorize)(struct call *call);
    /* The head of the request to the agent. `out` comes with room for ordinary fields; what is made for it lives in
     * call->heads. */
    void (*make_request)(struct call *call, struct head *out);
};

extern const struct call_kind call_kind_exec;

enum call_ender { ENDED_BY_GATEWAY, ENDED_BY_AGENT, ENDED_BY_CLIENT };

/* When things happened, in microseconds since the call began; 0: they did not. */
struct call_times {
    uint64_t began_us;
    uint32_t resolved_us, connected_us, head_us;
};

struct call {
    struct proxy *proxy;
    const struct call_kind *kind;
    struct proxy_config *config;
    struct conn_memo *memo; /* borrowed from the link */
    struct list link;
    struct relay relay; /* .client, .upstream: the exchanges; both are owned by the call */
    struct timer timer; /* the earliest of the deadlines below */
    uint64_t state_due_ms, timeout_due_ms, expiry_due_ms, cut_due_ms, wait_due_ms; /* 0: none */
    int64_t expires_wall_ms; /* what expiry_due_ms was computed from */
    enum call_state state;
    enum status outcome;
    enum status cut; /* the stream ends with this at its next edge; OK: it does not */
    enum call_ender ended_by;
    unsigned entered; /* nesting of call_enter() */
    const char
        *words; /* says more than the outcome; NULL: nothing to add. Static or in the arena */
    struct exec_request exec; /* ports: its caller and content_type alone */
    struct port_call *port;   /* NULL: not a port */
    struct principal *principal;
    struct record *computer;
    struct route_lookup *session_lookup, *computer_lookup;
    struct record_watch session_watch, computer_watch;
    struct upstream_wait *wait;
    struct in_flight_entry *in_session, *in_computer;
    struct wake_entry *waking;            /* NULL but while WAKING */
    struct plain_call *plain;             /* NULL: bytes pass through */
    struct slice request_id, traceparent; /* in `ids`, or borrowed from the request */
    char ids[96];
    struct arena
        heads; /* the head toward the agent; freed when its answer begins, so that a quiet stream is small */
    struct call_times times;
    uint64_t client_bytes;         /* that left toward the client */
    unsigned client_status;        /* of the response head; 0: none */
    enum connect_code agents_code; /* what its answer said (agent_outcome.h); OK: nothing bad */
    int upstream_reset;            /* how the agent reset its stream; -1: it did not */
    uint8_t retries;
    bool session_known, computer_known;
    bool needs_wake;      /* the computer does not run, and may be woken */
    bool maybe_delivered; /* the agent possibly saw the request */
    bool has_upstream_head;
    bool is_head_request;
    bool is_health; /* /health of a computer: what keeps us from it is 502 */
};

/* Takes the exchange. */
void call_start(struct proxy *proxy, const struct call_kind *kind, struct exchange *client);

void call_enter(struct call *call);
void call_leave(struct call *call); /* last line: the call may be gone */

/* Ends it with `status`: a reply, or the end that the protocol has for a stream in its middle, or a
 * reset. Harmless when the call has its end already. */
void call_fail(struct call *call, enum status status);

/* As call_fail(), but a stream in the middle of a message goes on to the next edge, for half a
 * second at most, so that its end can be told. */
void call_cut(struct call *call, enum status status);

/* Plain JSON: the agent has ended its stream with an error, which is told to the client. */
void call_pass_error(struct call *call);

/* The answer is ours and no error: `head` from call_begin_answer(). */
void call_begin_answer(struct call *call, unsigned http, struct head *out);
void call_answer(struct call *call, struct head *head, struct slice content_type,
                 struct slice body);

/* The client's exchange has its end: the agent's is let go, the last bytes leave. */
void call_finish(struct call *call, enum status outcome, enum call_ender ended_by);

struct reply call_reply(const struct call *call, enum status status);
void call_replied(struct call *call); /* an answer of ours is written and ended: it leaves */
void call_close_client(struct call *call,
                       enum exchange_reset reason); /* nothing more can be told */

static inline struct exchange *call_client(const struct call *call)
{
    return call->relay.client;
}

uint64_t call_now_ms(const struct call *call);

/* Once it is authorised. */
struct slice call_computer_id(const struct call *call);
