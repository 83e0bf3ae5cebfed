/* route/redis_link.c — see redis_link.h.
 *
 *     name lookup ──▶ conn ──▶ AUTH ──▶ SELECT ──▶ on_ready ──▶ commands, pings
 *
 * Replies come in the order of the commands, so `pending` is all the bookkeeping there is. A
 * subscribed link (RESP2) gets messages in between: arrays that begin with "message". */
#include "route/redis_link.h"

#include <stdio.h>

#include "base/mem.h"
#include "net/conn.h"
#include "net/name_lookup.h"
#include "net/timer.h"

enum { PING_MS = 1000, PING_GRACE_MS = 2000, READ_BYTES = 16 * 1024, READS_PER_EVENT = 16 };

struct redis_link {
    struct loop *loop;
    struct redis_link_options options;
    const struct redis_link_events *events;
    void *owner;
    struct route_store_redis_counters *counters;
    struct name_lookup *lookup;
    struct conn *conn;
    struct redis_reader *reader;
    struct buf out;
    struct task flush;
    struct timer tick;
    struct list pending; /* the oldest first */
    uint64_t ready_due_ms;
    uint64_t ping_ms; /* when the next one goes out */
    bool is_open;
    bool is_ready;
    bool is_lost;
    bool holds_secret; /* in `out` */
    bool is_ending;    /* destroyed while busy */
    unsigned busy;     /* our functions on the stack */
};

struct pending {
    struct list link;
    uint64_t sent_us;
    uint64_t due_ms;
    redis_link_reply_fn *on_reply;
    void *arg;
};

static uint64_t now_ms(const struct redis_link *link)
{
    return loop_clock(link->loop)->now_ms;
}

static void link_close(struct redis_link *link)
{
    name_lookup_cancel(&link->lookup);
    conn_destroy(&link->conn);
    timer_cancel(&link->tick);
    task_cancel(&link->flush);
}

static void link_free(struct redis_link *link)
{
    link_close(link);
    while (!list_is_empty(&link->pending)) {
        struct pending *pending = LIST_FIRST(&link->pending, struct pending, link);

        list_unlink(&pending->link);
        mem_free(pending);
    }
    if (link->out.memory != NULL)
        mem_wipe(link->out.memory, link->out.capacity);
    buf_deinit(&link->out);
    redis_reader_destroy(&link->reader);
    mem_free(link);
}

void redis_link_destroy(struct redis_link **link)
{
    struct redis_link *l = *link;

    if (l == NULL)
        return;
    *link = NULL;
    l->is_lost = true; /* no more events */
    l->is_ending = true;
    link_close(l);
    if (l->busy == 0)
        link_free(l);
}

/* Brackets everything that may call the owner. */
static void enter(struct redis_link *link)
{
    link->busy++;
}

static void leave(struct redis_link *link)
{
    if (--link->busy == 0 && link->is_ending)
        link_free(link);
}

static void lose(struct redis_link *link, const char *why, bool reply_was_refused)
{
    if (link->is_lost)
        return;
    enter(link);
    link->is_lost = true;
    link_close(link);
    link->events->on_lost(link->owner, why, reply_was_refused);
    leave(link);
}

void redis_link_lose(struct redis_link *link, const char *why)
{
    lose(link, why, false);
}

static bool lose_if_refused(struct redis_link *link, const struct redis_reply *reply,
                            const char *command)
{
    char why[256];

    if (reply->kind != REDIS_ERROR)
        return false;
    snprintf(why, sizeof(why), "%s was refused: %.*s", command,
             SLICE_ARGS(slice_first(reply->text, 200)));
    redis_link_lose(link, why);
    return true;
}

/* ---- time ---- */

static void arm(struct redis_link *link)
{
    uint64_t due_ms = link->is_ready ? link->ping_ms : link->ready_due_ms;

    LIST_EACH(&link->pending, at)
    {
        const struct pending *pending = LIST_ITEM(at, struct pending, link);

        if (pending->due_ms < due_ms)
            due_ms = pending->due_ms;
    }
    timer_arm(&link->tick, due_ms > now_ms(link) ? due_ms - now_ms(link) : 0);
}

static bool has_overdue(const struct redis_link *link)
{
    LIST_EACH(&link->pending, at)
    if (LIST_ITEM(at, struct pending, link)->due_ms <= now_ms(link))
        return true;
    return false;
}

static void send_due_in(struct redis_link *link, struct slice command,
                        redis_link_reply_fn *on_reply, void *arg, uint64_t within_ms);

static void on_pong(void *arg, const struct redis_reply *reply)
{
    struct redis_link *link = arg;

    (void)lose_if_refused(link, reply, "PING"); /* it is loading, or we lost our rights */
}

static void on_tick(struct timer *timer)
{
    struct redis_link *link = CONTAINER_OF(timer, struct redis_link, tick);

    if (has_overdue(link)) {
        counter_add(&link->counters->timeouts, 1);
        redis_link_lose(link, "reply is late");
        return;
    }
    if (!link->is_ready && now_ms(link) >= link->ready_due_ms) {
        counter_add(&link->counters->timeouts, 1);
        redis_link_lose(link, "connecting took too long");
        return;
    }
    if (link->is_ready && now_ms(link) >= link->ping_ms) {
        link->ping_ms = now_ms(link) + PING_MS;
        send_due_in(link, SLICE("*1\r\n$4\r\nPING\r\n"), on_pong, link, PING_GRACE_MS);
    }
    arm(link);
}

/* ---- bytes out ---- */

static void flush(struct redis_link *link)
{
    size_t count = 0;

    while (link->out.len > 0) {
        struct slice bytes = buf_slice(&link->out);
        enum status status = conn_write(link->conn, &bytes, 1, &count);

        if (status == STATUS_AGAIN || (status == STATUS_OK && count == 0)) {
            conn_want_write(link->conn);
            return;
        }
        if (status != STATUS_OK) {
            redis_link_lose(link, "connection broke");
            return;
        }
        if (link->holds_secret && count == link->out.len) {
            mem_wipe(link->out.memory, link->out.capacity);
            link->holds_secret = false;
        }
        buf_consume(&link->out, count);
    }
}

static void on_flush(struct task *task)
{
    flush(CONTAINER_OF(task, struct redis_link, flush));
}

static void send_due_in(struct redis_link *link, struct slice command,
                        redis_link_reply_fn *on_reply, void *arg, uint64_t within_ms)
{
    struct pending *pending = mem_zeroed(sizeof(*pending));

    ENSURE(link->is_open);
    counter_add(&link->counters->commands, 1);
    pending->on_reply = on_reply;
    pending->arg = arg;
    pending->sent_us = loop_clock(link->loop)->now_us;
    pending->due_ms = now_ms(link) + within_ms;
    list_append(&link->pending, &pending->link);
    buf_append(&link->out, command);
    if (!link->is_lost)
        task_defer(link->loop, &link->flush);
}

void redis_link_send(struct redis_link *link, struct slice command, redis_link_reply_fn *on_reply,
                     void *arg)
{
    send_due_in(link, command, on_reply, arg, link->options.reply_timeout_ms);
    if (!link->is_lost && link->tick.due_ms > now_ms(link) + link->options.reply_timeout_ms)
        timer_arm(&link->tick, link->options.reply_timeout_ms);
}

void redis_link_send_words(struct redis_link *link, const struct slice *words, size_t word_count,
                           redis_link_reply_fn *on_reply, void *arg)
{
    struct buf command = { 0 };

    redis_command_append(&command, words, word_count);
    redis_link_send(link, buf_slice(&command), on_reply, arg);
    mem_wipe(command.memory, command.capacity);
    buf_deinit(&command);
}

/* ---- greeting ---- */

static void become_ready(struct redis_link *link)
{
    link->is_ready = true;
    link->ping_ms = now_ms(link) + PING_MS;
    arm(link);
    link->events->on_ready(link->owner, link);
}

static void on_selected(void *arg, const struct redis_reply *reply)
{
    struct redis_link *link = arg;

    if (!lose_if_refused(link, reply, "SELECT"))
        become_ready(link);
}

static void select_database(struct redis_link *link)
{
    char number[16];

    if (link->options.endpoint->database == 0 || !link->options.selects) {
        become_ready(link);
        return;
    }
    snprintf(number, sizeof(number), "%u", link->options.endpoint->database);
    const struct slice words[] = { SLICE("SELECT"), slice_from_string(number) };
    redis_link_send_words(link, words, 2, on_selected, link);
}

static void on_authenticated(void *arg, const struct redis_reply *reply)
{
    struct redis_link *link = arg;

    if (!lose_if_refused(link, reply, "AUTH"))
        select_database(link);
}

static void greet(struct redis_link *link)
{
    const struct redis_endpoint *to = link->options.endpoint;
    struct slice words[3] = { SLICE("AUTH") };
    size_t count = 1;

    if (to->password == NULL && to->user == NULL) {
        select_database(link);
        return;
    }
    if (to->user != NULL)
        words[count++] = slice_from_string(to->user);
    words[count++] = slice_from_string(to->password); /* empty: for a user of `nopass` */
    link->holds_secret = true;
    redis_link_send_words(link, words, count, on_authenticated, link);
}

/* ---- bytes in ---- */

static bool is_message(const struct redis_reply *reply)
{
    return reply->kind == REDIS_ARRAY && reply->item_count == 3 &&
           reply->items[0].kind == REDIS_TEXT &&
           slice_equal(reply->items[0].text, SLICE("message"));
}

static void take_reply(struct redis_link *link, const struct redis_reply *reply)
{
    if (is_message(reply)) {
        link->events->on_message(link->owner, reply);
        return;
    }
    if (list_is_empty(&link->pending)) {
        redis_link_lose(link, "reply that nobody asked for");
        return;
    }
    struct pending *pending = LIST_FIRST(&link->pending, struct pending, link);
    struct pending done = *pending;

    list_unlink(&pending->link);
    mem_free(pending);
    counter_add(&link->counters->replies, 1);
    histogram_observe(&link->counters->latency, loop_clock(link->loop)->now_us - done.sent_us);
    if (done.on_reply != NULL)
        done.on_reply(done.arg, reply);
}

static void take_bytes(struct redis_link *link, struct slice bytes)
{
    struct redis_reply *reply;
    enum status status = STATUS_OK;

    redis_reader_feed(link->reader, bytes);
    while (status == STATUS_OK && !link->is_lost) {
        status = redis_reader_next(link->reader, &reply);
        if (status != STATUS_OK)
            break;
        take_reply(link, reply);
        redis_reply_destroy(&reply);
    }
    if (link->is_lost || status == STATUS_AGAIN || status == STATUS_OK)
        return;
    counter_add(&link->counters->refused_replies, 1);
    lose(link, redis_reader_error(link->reader), true);
}

static void on_readable(void *owner)
{
    struct redis_link *link = owner;
    char bytes[READ_BYTES];
    size_t count;

    enter(link);
    for (unsigned i = 0; i < READS_PER_EVENT && !link->is_lost; i++) {
        enum status status = conn_read(link->conn, bytes, sizeof(bytes), &count);

        if (status == STATUS_AGAIN)
            break;
        if (status == STATUS_OK)
            take_bytes(link, slice_of(bytes, count));
        else
            redis_link_lose(link, status == STATUS_CLOSED ? "Redis closed the connection"
                                                          : "connection broke");
    }
    leave(link);
}

static void on_writable(void *owner)
{
    struct redis_link *link = owner;

    enter(link);
    flush(link);
    leave(link);
}

/* ---- opening ---- */

static void lose_unopened(struct redis_link *link, enum status status)
{
    const char *refusal = link->conn->tls.refusal;
    char why[128];

    snprintf(why, sizeof(why), "%s%s",
             refusal != NULL                    ? "its certificate was refused: "
             : status == STATUS_AGENT_TIMED_OUT ? "connecting took too long"
             : status == STATUS_MALFORMED       ? "TLS handshake failed"
                                                : "cannot connect",
             refusal != NULL ? refusal : "");
    redis_link_lose(link, why);
}

static void on_open(void *owner, enum status status)
{
    struct redis_link *link = owner;

    enter(link);
    if (status == STATUS_OK) {
        counter_add(&link->counters->connects, 1);
        link->is_open = true;
        conn_want_read(link->conn, true);
        greet(link);
    } else {
        lose_unopened(link, status);
    }
    leave(link);
}

static const struct conn_events link_conn_events = {
    .on_open = on_open,
    .on_readable = on_readable,
    .on_writable = on_writable,
};

static void connect_to(struct redis_link *link, const struct address *address)
{
    const struct redis_endpoint *to = link->options.endpoint;
    struct conn_connect_options options = {
        .tls = to->tls ? link->options.tls : NULL,
        .server_name = slice_from_string(to->host),
        .timeout_ms = link->options.connect_timeout_ms,
    };

    link->conn = conn_connect_start(link->loop, address, &options, &link_conn_events, link);
}

static void on_name(void *arg, enum status status, const struct address *address)
{
    struct redis_link *link = arg;

    link->lookup = NULL;
    if (status == STATUS_OK)
        connect_to(link, address);
    else
        redis_link_lose(link, "name cannot be looked up");
}

static void find_address(struct redis_link *link)
{
    const struct redis_endpoint *to = link->options.endpoint;
    struct address address;
    struct buf text = { 0 };

    if (to->host != NULL) {
        /* a lookup gives ::1 first, where a Redis that is bound to 127.0.0.1 alone is not */
        bool is_local = strcmp(to->host, "localhost") == 0;

        link->lookup = name_lookup_start(
            link->loop, is_local ? SLICE("127.0.0.1") : slice_from_string(to->host), to->port,
            on_name, link);
        return;
    }
    buf_printf(&text, "unix:%s", to->unix_path);
    if (address_parse(buf_slice(&text), &address) == STATUS_OK)
        connect_to(link, &address);
    else
        link->ready_due_ms = 0; /* too long a path: lost in the next turn */
    buf_deinit(&text);
}

struct redis_link *redis_link_create(struct loop *loop, const struct redis_link_options *options,
                                     const struct redis_link_events *events, void *owner,
                                     struct route_store_redis_counters *counters)
{
    struct redis_link *link = mem_zeroed(sizeof(*link));

    link->loop = loop;
    link->options = *options;
    link->events = events;
    link->owner = owner;
    link->counters = counters;
    link->reader = redis_reader_create(&options->limits);
    list_init(&link->pending);
    task_init(&link->flush, on_flush);
    timer_init(&link->tick, loop, on_tick);
    link->ready_due_ms = now_ms(link) + options->connect_timeout_ms;
    find_address(link);
    arm(link);
    return link;
}
