/* tests/load/run.h — the parts of a run.
 *
 *   main thread ── results ◀── lane (a thread, a loop) ── run (one load on it) ── pool ── clients ── requests
 *
 * A run's pacers say when things are due; its kind (kind_*.c) says what they are; a request is one HTTP exchange. */
#pragma once

#include <stdatomic.h>

#include "http/client.h"
#include "identity.h"
#include "net/timer.h"
#include "net/tls_context.h"
#include "net/watch.h"
#include "pacer.h"
#include "results.h"

struct endpoint { /* where a load goes */
    struct address address;
    struct slice scheme, authority, host;
    struct tls_context *tls[2]; /* by load_protocol; NULL in clear */
};

struct settings { /* of the whole run; threads share it and do not change it */
    const struct scenario *scenario;
    struct endpoint clear, secure;
    bool has_clear, has_secure;
    struct identities exec, access;
    struct http_limits limits;
    const char *emit_file; /* exec-load-emit as the guest finds it */
    unsigned lane_count;
    uint64_t begin_us, end_us; /* monotonic */
    struct results *results;
    atomic_bool stop; /* SIGINT */
};

struct run;
struct lane;

struct kind { /* one per load_kind */
    void (*start)(struct run *run);
    void (*open)(struct run *run, uint64_t number,
                 uint64_t due_us); /* session `number`; NULL: holds none */
    void (*arrive)(struct run *run, uint64_t number, uint64_t due_us); /* NULL: nothing arrives */
    void (*finish)(
        struct run *run); /* no more arrivals: end what is held; is_idle says when that is done */
    void (*destroy)(struct run *run);
};
extern const struct kind kind_unary, kind_stream, kind_echo, kind_attach, kind_http, kind_websocket,
    kind_storm;

struct run {
    struct lane *lane;
    const struct load *load;
    size_t index;
    const struct kind *kind;
    const struct endpoint *endpoint;
    struct pool *pool; /* NULL: the kind dials by itself */
    struct pacer openings, arrivals;
    uint64_t warm_us;    /* arrivals that were due before count for nothing */
    struct list waiting; /* requests for a connection with room */
    struct list flying;  /* requests on a connection */
    uint64_t busy_count; /* both */
    uint64_t held_count; /* sessions */
    struct tally now;    /* of the current second, warm-up included */
    struct tally kept;   /* the part of it that counts */
    void *state;         /* the kind's */
    uint64_t state_count;
    bool is_finishing;
};

struct lane {
    pthread_t thread;
    unsigned index;
    struct settings *settings;
    struct loop *loop;
    struct watch *alarm; /* a timerfd: the next due moment, finer than the loop's milliseconds */
    struct run runs[LOADS_MAX];
    size_t second;
    struct hdr lateness;
    bool failed;
};

/* Starts a lane's thread; it ends by itself. False: out of descriptors or threads. */
bool lane_start(struct lane *lane, unsigned index, struct settings *settings);

uint64_t
now_us(void); /* monotonic, not the loop's: between the callbacks of one turn time goes on */

/* An arrival ended; a good one's time goes to the latencies. What was due in the warm-up is shown and does not count. */
void run_count(struct run *run, uint64_t due_us, enum outcome outcome);
/* The same for the opening (or the early end) of a session, which counts at any time. */
void run_count_session(struct run *run, uint64_t due_us, enum outcome outcome);
/* An event, `taken_us` after it was sent or due. */
void run_count_event(struct run *run, uint64_t taken_us);

/* The n-th of those that the load uses; NULL when there is none. */
const struct identity *run_identity(const struct run *run, const struct identities *identities,
                                    uint64_t n);

/* ---- pool.c: connections that take requests ---- */

struct pool *pool_create(struct run *run);
void pool_destroy(struct pool **pool);
/* A client with room, and the number of its connection; NULL: wait for pool's call of requests_go_on(). */
struct http_client *pool_take(struct pool *pool, unsigned *out_connection);
uint64_t pool_conn_count(const struct pool *pool);

/* ---- request.c: one HTTP exchange ---- */

struct request;
struct request_events {
    void (*on_head)(struct request *request); /* NULL is allowed */
    void (*on_bytes)(struct request *request,
                     struct slice bytes); /* of a good answer; NULL: thrown away */
    /* Once: over. The request is the owner's memory again. Errors' outcome is ready; OK may be judged anew. */
    void (*on_end)(struct request *request, enum outcome outcome);
};

enum request_shape {
    SHAPE_UNARY,
    SHAPE_STREAM,
    SHAPE_PLAIN
}; /* Connect unary, Connect streaming, any HTTP */

enum { REQUEST_FIELDS = 8, ERROR_BYTES = 160 };

struct request { /* embedded in its owner */
    struct run *run;
    const struct request_events *events;
    const struct identity *identity; /* NULL until it is opened: by connection */
    uint64_t due_us;
    enum request_shape shape;
    struct slice method, path; /* method: HTTP's; path whole */
    struct slice authority;    /* empty: the endpoint's */
    struct slice content_type; /* empty: none */
    struct slice protocol;     /* "websocket" */
    struct slice timeout;      /* Connect-Timeout-Ms */
    struct buf body;           /* owned; gone after the start */
    bool keep_open;            /* more body follows: request_write, request_finish */
    int auth;
    const struct identities *identities;
    uint64_t timeout_ms; /* for the whole answer; 0: none; request_held() ends it */
    /* the request's own */
    struct list link;
    struct exchange *exchange;
    struct timer deadline;
    struct field fields[REQUEST_FIELDS];
    unsigned status;
    bool has_ended;
    char error[ERROR_BYTES]; /* of a failed answer, the beginning */
    size_t error_len;
};

/* Zeroes and sets what every request has. */
void request_init(struct request *request, struct run *run, const struct request_events *events,
                  uint64_t due_us);
/* Sends it now or when a connection has room. on_end may follow before it returns (client_overrun). */
void request_start(struct request *request);
void request_write(struct request *request, struct slice bytes);
void request_finish(struct request *request);
void request_held(struct request *request);   /* the answer is a session from now on: no deadline */
void request_cancel(struct request *request); /* on_end does not follow */
/* For the owner: ends it with an outcome of its own; on_end follows. */
void request_fail(struct request *request, enum outcome outcome);

/* Room on a connection: whoever waits goes on. */
void requests_go_on(struct run *run);

/* The outcome that an END_STREAM envelope's JSON says. */
enum outcome outcome_of_json(struct slice json);
enum outcome outcome_of_reset(enum exchange_reset reason);
