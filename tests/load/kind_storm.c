/* tests/load/kind_storm.c — each arrival is a new connection: TCP, TLS where the endpoint has it, with `request: true` one GET /health,
 * then it closes. Latency: from when it was due until the handshake is done. Events: until the answer is whole. */
#include "base/mem.h"
#include "run.h"

struct visit {
    struct run *run;
    uint64_t due_us;
    struct conn *conn;
    struct http_client *client;
    struct exchange *exchange;
    struct timer deadline;
    struct task leave; /* a client may not be destroyed inside its own callbacks */
    struct list link;  /* in the run's list */
    enum outcome outcome;
    bool is_leaving;
};

static void visit_destroy(struct visit *visit)
{
    timer_cancel(&visit->deadline);
    task_cancel(&visit->leave);
    exchange_release(&visit->exchange);
    http_client_destroy(&visit->client);
    if (visit->conn != NULL)
        conn_shutdown(visit->conn);
    conn_destroy(&visit->conn);
    list_unlink(&visit->link);
    visit->run->busy_count--;
    mem_free(visit);
}

static void on_leave(struct task *task)
{
    struct visit *visit = CONTAINER_OF(task, struct visit, leave);

    if (visit->outcome != OUTCOME_OK)
        run_count(visit->run, visit->due_us, visit->outcome);
    visit_destroy(visit);
}

static void leave(struct visit *visit, enum outcome outcome)
{
    if (visit->is_leaving)
        return;
    visit->is_leaving = true;
    visit->outcome = outcome;
    task_defer(visit->run->lane->loop, &visit->leave);
}

/* ---- the request ---- */

static void answered(struct visit *visit)
{
    if (visit->is_leaving)
        return;
    run_count_event(visit->run, now_us() - visit->due_us);
    leave(visit, visit->exchange->response.status == 200 ? OUTCOME_OK : OUTCOME_HTTP_OTHER);
}

static void on_interim(struct exchange *exchange, const struct head *head)
{
    (void)exchange;
    (void)head;
}

static void on_head(struct exchange *exchange, const struct head *head)
{
    (void)head;
    if (exchange->in_ended)
        answered(exchange->owner);
}

static void on_body(struct exchange *exchange, struct slice bytes)
{
    exchange_consumed(exchange, bytes.len);
}

static void on_end(struct exchange *exchange, const struct fields *trailers)
{
    (void)trailers;
    answered(exchange->owner);
}

static void on_drained(struct exchange *exchange, size_t size_bytes)
{
    (void)exchange;
    (void)size_bytes;
}

static void on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    leave(exchange->owner, reason == RESET_LOST ? OUTCOME_LOST : OUTCOME_RESET);
}

static const struct exchange_events exchange_events = { on_interim, on_head,    on_body,
                                                        on_end,     on_drained, on_reset };

static void ask(void *owner)
{
    struct visit *visit = owner;
    const struct endpoint *endpoint = visit->run->endpoint;
    struct head head = {
        .method = SLICE("GET"),
        .scheme = endpoint->scheme,
        .authority = endpoint->authority,
        .target = SLICE("/health"),
        .content_length = CONTENT_LENGTH_UNKNOWN,
    };

    if (visit->exchange == NULL && !visit->is_leaving && http_client_capacity(visit->client) > 0)
        visit->exchange = http_client_open(visit->client, &head, true, &exchange_events, visit);
}

static void on_closing(void *owner, enum status reason)
{
    struct visit *visit = owner;

    (void)reason;
    if (visit->exchange == NULL)
        leave(visit, OUTCOME_LOST);
}

static void on_closed(void *owner)
{
    leave(owner, OUTCOME_LOST);
}

static const struct http_client_events client_events = { ask, ask, on_closing, on_closed };

/* ---- the connection ---- */

static void on_conn_open(void *owner, enum status status)
{
    struct visit *visit = owner;
    struct run *run = visit->run;
    struct conn *conn = visit->conn;

    if (status != STATUS_OK) {
        leave(visit, status == STATUS_MALFORMED         ? OUTCOME_TLS_FAILED
                     : status == STATUS_AGENT_TIMED_OUT ? OUTCOME_TIMEOUT
                                                        : OUTCOME_CONNECT_FAILED);
        return;
    }
    run_count(run, visit->due_us, OUTCOME_OK);
    if (!run->load->request) {
        leave(visit, OUTCOME_OK);
        return;
    }
    visit->conn = NULL;
    if (run->load->protocol == PROTOCOL_H2)
        visit->client = h2_client_create(conn, &run->lane->settings->limits, &client_events, visit);
    else
        visit->client = h1_client_create(conn, &run->lane->settings->limits, &client_events, visit);
}

static void on_conn_ready(void *owner)
{
    (void)owner;
}

static const struct conn_events conn_events = { on_conn_open, on_conn_ready, on_conn_ready };

static void on_deadline(struct timer *timer)
{
    leave(CONTAINER_OF(timer, struct visit, deadline), OUTCOME_TIMEOUT);
}

static void arrive(struct run *run, uint64_t number, uint64_t due_us)
{
    struct visit *visit;
    struct conn_connect_options options = {
        .tls = run->endpoint->tls[run->load->protocol],
        .server_name = run->endpoint->host,
        .timeout_ms = run->load->timeout_ms,
    };

    (void)number;
    if (run->busy_count >= run->load->connections / run->lane->settings->lane_count + 1) {
        run_count(run, due_us, OUTCOME_OVERRUN);
        return;
    }
    visit = mem_zeroed(sizeof(*visit));
    visit->run = run;
    visit->due_us = due_us;
    timer_init(&visit->deadline, run->lane->loop, on_deadline);
    task_init(&visit->leave, on_leave);
    list_init(&visit->link);
    list_append(run->state, &visit->link);
    run->busy_count++;
    timer_arm(&visit->deadline, run->load->timeout_ms);
    visit->conn =
        conn_connect_start(run->lane->loop, &run->endpoint->address, &options, &conn_events, visit);
}

static void start(struct run *run)
{
    run->state = mem_alloc(sizeof(struct list));
    list_init(run->state);
}

static void finish(struct run *run)
{
    (void)run;
}

static void destroy(struct run *run)
{
    struct list *visits = run->state;

    while (!list_is_empty(visits)) {
        struct visit *visit = LIST_FIRST(visits, struct visit, link);
        run_count(run, visit->due_us, OUTCOME_UNFINISHED);
        visit_destroy(visit);
    }
    mem_free(visits);
}

const struct kind kind_storm = { start, NULL, arrive, finish, destroy };
