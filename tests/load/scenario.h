/* tests/load/scenario.h — what a run does, from a YAML file (docs/load-testing.md describes every key). One scenario is a list of
 * loads that run at the same time, and of thresholds that make the run pass or fail. Immutable once read; threads share it. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

enum load_kind {
    LOAD_UNARY,
    LOAD_STREAM,
    LOAD_ECHO,
    LOAD_ATTACH,
    LOAD_HTTP,
    LOAD_WEBSOCKET,
    LOAD_STORM,
    LOAD_KIND_COUNT
};
enum load_protocol { PROTOCOL_H2, PROTOCOL_H1 };
enum load_identities { IDENTITY_PER_CONNECTION, IDENTITY_PER_CALL };
enum load_input { INPUT_BY_STREAM, INPUT_BY_CALL };
enum load_codec { CODEC_PROTO, CODEC_JSON };
enum load_auth { AUTH_BEARER, AUTH_COOKIE, AUTH_NONE };

enum { LOADS_MAX = 16, THRESHOLDS_MAX = 32, HEADERS_MAX = 8, COMMAND_MAX = 16 };

#define LOAD_ANY_COMPUTER UINT64_MAX

struct load {
    const char *name;
    int kind;
    int protocol;
    bool tls;
    uint64_t connections;
    double rate;          /* arrivals a second: calls, keystrokes, messages, handshakes */
    uint64_t sessions;    /* held open: streams, echo sessions, subscribers a group, WebSockets */
    uint64_t groups;      /* attach: processes that are watched */
    double events;        /* stream, attach: a second and process */
    uint64_t event_bytes; /* of an event, a keystroke, a message */
    uint64_t open_ms;     /* over so long the sessions are opened */
    uint64_t start_ms;    /* after the beginning of the run */
    uint64_t for_ms;      /* 0: to the end of the run */
    uint64_t timeout_ms;
    uint64_t max_in_flight;
    uint64_t computer; /* minted tokens: of this one alone; LOAD_ANY_COMPUTER */
    int identities;
    int input;
    int codec;
    int auth;
    bool request; /* storm: one GET /health on the new connection */
    const char *method;
    const char *path;
    const char *authority;                /* NULL: the target's */
    const char *body;                     /* unary */
    uint64_t status;                      /* http: what counts as success */
    const char *command[COMMAND_MAX + 1]; /* stream, attach, echo; empty: exec-load-emit, cat */
};

struct threshold {
    const char *text;   /* "list.p99_ms < 50" */
    const char *load;   /* "list", "gateway", "client" */
    const char *metric; /* "p99_ms" */
    const char *compare;
    double bound;
};

struct scenario {
    struct arena arena;
    const char *name;
    const char *about;
    uint64_t duration_ms;
    uint64_t ramp_ms;   /* rates grow from nothing */
    uint64_t warmup_ms; /* what was due before counts for nothing */
    uint64_t grace_ms;  /* what is under way at the end may take so long */
    uint64_t computers; /* local runs: how many, and sessions of each */
    uint64_t sessions;
    struct load loads[LOADS_MAX];
    size_t load_count;
    struct threshold thresholds[THRESHOLDS_MAX];
    size_t threshold_count;
};

/* Errors: CONFIG_INVALID, with "FILE:LINE:COLUMN: what was expected" in `out_error`. */
MUST_CHECK enum status scenario_read(const char *file, struct scenario *out, struct buf *out_error);
void scenario_deinit(struct scenario *scenario);

/* "500ms", "1.5s", "5m", "1h"; at most a week. */
bool scenario_duration(const char *text, uint64_t *out_ms);

const char *load_kind_text(enum load_kind kind);
/* Does it hold sessions open, besides (or instead of) arrivals? */
bool load_holds_sessions(const struct load *load);
