/* proxy/call_state.h — the states of a call, where each may lead, how long it may last, and what is
 * said when it lasts longer. call_move() in call.c is the one mover. */
#pragma once

#include "base/status.h"

enum call_state {
    CALL_FINDING,     /* a published port: which one is meant */
    CALL_AUTHORIZING, /* who asks, may they */
    CALL_RESOLVING,   /* session and computer are looked up */
    CALL_WAKING,      /* the computer does not run; it was asked for */
    CALL_COLLECTING,  /* plain JSON: the request body comes in whole */
    CALL_CONNECTING,  /* a client toward the agent is awaited */
    CALL_RETRYING,    /* the pause before the one second try */
    CALL_RELAYING,    /* bytes flow; the relay keeps its own clocks */
    CALL_FINISHING,   /* the agent's answer is whole: its last bytes leave */
    CALL_REPLYING,    /* our own answer leaves */
    CALL_CLOSED,
    CALL_STATE_COUNT
};

struct call_state_row {
    const char *name;
    unsigned next;     /* states reachable from this one, as bits */
    uint64_t limit_ms; /* longest stay without progress; 0: no limit of its own */
    enum status late;  /* the outcome when the stay is longer */
};

extern const struct call_state_row call_states[CALL_STATE_COUNT];
