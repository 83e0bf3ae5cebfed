/* tests/load/tally.h — what one load did in one second of one thread; and how a call can end. */
#pragma once

#include <stdbool.h>

#include "base/slice.h"
#include "connect/connect_code.h"
#include "hdr.h"

/* The server's codes first (connect_code.h), then what the client itself saw. */
#define OUTCOME_TABLE(X)                                                                           \
    X(TIMEOUT, "client_timeout")        /* no answer within the load's `timeout` */                \
    X(OVERRUN, "client_overrun")        /* `max_in_flight` were under way: not sent */             \
    X(UNFINISHED, "client_unfinished")  /* still under way when the run ended */                   \
    X(CONNECT_FAILED, "connect_failed") /* TCP, or the peer spoke no HTTP */                       \
    X(TLS_FAILED, "tls_failed")                                                                    \
    X(LOST, "connection_lost") /* under the call */                                                \
    X(REFUSED, "stream_refused")                                                                   \
    X(RESET, "stream_reset")                                                                       \
    X(MALFORMED, "malformed_answer")                                                               \
    X(HTTP_4XX, "http_4xx") /* without a Connect code */                                           \
    X(HTTP_5XX, "http_5xx")                                                                        \
    X(HTTP_OTHER, "http_unexpected")                                                               \
    X(ENDED_EARLY, "ended_early") /* a held session ended by itself */

enum outcome {
    OUTCOME_OK = CONNECT_OK,
    OUTCOME_FIRST_OWN = CONNECT_CODE_COUNT - 1,
#define X(id, text) OUTCOME_##id,
    OUTCOME_TABLE(X)
#undef X
        OUTCOME_COUNT
};

const char *outcome_text(unsigned outcome);

struct tally {
    uint64_t started; /* calls that were due */
    uint64_t done;    /* that ended well */
    uint64_t
        done_measured; /* of these, due after the warm-up: openings of sessions are `done` at any time */
    uint64_t ends[OUTCOME_COUNT]; /* that ended otherwise, by outcome */
    uint64_t bytes_in, bytes_out;
    uint64_t open;      /* gauge at the end of the second: sessions held, calls under way */
    uint64_t conns;     /* gauge: connections */
    struct hdr latency; /* of calls, from when they were due */
    struct hdr events;  /* of events, from when the guest sent them */
};

uint64_t tally_errors(const struct tally *tally);
void tally_merge(struct tally *into, const struct tally *from); /* gauges are added, too */
