/* route/route_store_redis.c — records as hashes in Redis: a read is one HGETALL on the pair of
 * links, a pushed key is a change.
 *
 *     waiting ──(pair is up)──▶ sent ──▶ answered
 *        ▲                        │
 *        └──── reads, pair lost ──┘      (commands fail instead: they may have been carried out)
 *
 * Who waits how long is the resolver's business; here only the number of requests is bounded.
 *
 * A reply that cannot be taken (too large, or nonsense) costs the connection. Its key is not asked
 * for again for a while, or one bad record would keep the pair down for good.
 *
 * A record that is not understood is MALFORMED and logged once for each key; a key that is no hash
 * is the same. Anything else that Redis says instead of a hash means that it cannot be known now.
 */
#include "route/route_store_redis.h"

#include <stdio.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "net/timer.h"
#include "route/redis_pair.h"

enum {
    REQUESTS_MAX = 1024,
    LOGGED_KEYS = 256,
    LOG_EVERY_MS = 10 * 1000,
    POISONED_KEYS = 64,
    POISONED_MS = 30 * 1000
};

/* A key whose reply cost the connection. */
struct poisoned_key {
    uint64_t hash; /* 0: none */
    uint64_t until_ms;
};

struct route_store_redis {
    struct route_store store; /* first */
    struct loop *loop;
    struct route_store_redis_options options;
    struct redis_endpoint endpoint;
    char *prefix;
    struct redis_pair *pair;
    struct list waiting;
    struct list sent;     /* in the order of their replies */
    struct list refused;  /* too many of them */
    size_t request_count; /* waiting and sent */
    struct task refuse;
    struct timer expiry; /* of waiting commands */
    bool was_up;
    uint64_t logged_ms;
    struct poisoned_key poisoned[POISONED_KEYS];
    uint64_t logged_keys[LOGGED_KEYS]; /* hashes of keys that were logged as malformed */
    struct route_store_redis_counters counters;
};

struct request;
/* Answers and frees. `reply` is NULL when there will be none. */
typedef void request_end_fn(struct request *request, const struct redis_reply *reply);

struct request {
    struct list link; /* in waiting, sent or refused */
    struct route_store_redis *store;
    struct buf bytes; /* the command */
    request_end_fn *end;
    bool is_read;
    bool is_counted;
    bool is_sent;
    uint64_t due_ms; /* commands: until when they wait */
};

struct route_read {
    struct request request; /* first */
    enum record_kind kind;
    route_read_fn *on_read; /* NULL: cancelled */
    void *arg;
    struct slice id; /* behind the struct */
    bool is_poisoned;
};

struct redis_command {
    struct request request;               /* first */
    route_store_redis_reply_fn *on_reply; /* NULL: cancelled */
    void *arg;
};

static struct route_store_redis *redis_of(const struct route_store *store)
{
    return (struct route_store_redis *)(uintptr_t)store;
}

/* ---- requests ---- */

static void request_free(struct request *request)
{
    list_unlink(&request->link);
    if (request->is_counted)
        request->store->request_count--;
    if (request->bytes.memory != NULL)
        mem_wipe(request->bytes.memory, request->bytes.capacity);
    buf_deinit(&request->bytes);
    mem_free(request);
}

static void on_reply(void *arg, const struct redis_reply *reply)
{
    struct request *request = arg;

    request->end(request, reply);
}

static void send(struct route_store_redis *store, struct request *request)
{
    list_unlink(&request->link);
    list_append(&store->sent, &request->link);
    request->is_sent = true;
    redis_pair_send(store->pair, buf_slice(&request->bytes), on_reply, request);
}

static void refuse(struct task *task)
{
    struct route_store_redis *store = CONTAINER_OF(task, struct route_store_redis, refuse);

    struct list refused;

    list_init(&refused);
    list_move_all(&refused, &store->refused); /* who asks again is refused in a later turn */
    while (!list_is_empty(&refused)) {
        struct request *request = LIST_FIRST(&refused, struct request, link);

        request->end(request, NULL);
    }
}

static void request_init(struct route_store_redis *store, struct request *request)
{
    request->store = store;
    list_init(&request->link);
}

static void refuse_later(struct route_store_redis *store, struct request *request)
{
    list_unlink(&request->link);
    list_append(&store->refused, &request->link);
    task_defer_next(store->loop, &store->refuse);
}

static void request_start(struct route_store_redis *store, struct request *request)
{
    if (store->request_count >= REQUESTS_MAX) {
        refuse_later(store, request);
        return;
    }
    store->request_count++;
    request->is_counted = true;
    list_append(&store->waiting, &request->link);
    if (redis_pair_is_up(store->pair))
        send(store, request);
}

/* ---- reads ---- */

static uint64_t hash_of(const struct route_store_redis *store, enum record_kind kind,
                        struct slice id)
{
    struct buf key = { 0 };

    route_store_redis_append_key(&store->store, kind, id, &key);
    uint64_t hash = map_hash(buf_slice(&key)) | 1;

    buf_deinit(&key);
    return hash;
}

static struct poisoned_key *poisoned_slot(struct route_store_redis *store, uint64_t hash)
{
    return &store->poisoned[hash / 2 % POISONED_KEYS];
}

static void poison(struct route_store_redis *store, struct route_read *read)
{
    uint64_t hash = hash_of(store, read->kind, read->id);

    log_error("redis: key=%s%s:{%.*s} has a reply that cannot be taken: it is not read for %d s",
              store->prefix, record_kind_text(read->kind), SLICE_ARGS(slice_first(read->id, 256)),
              POISONED_MS / 1000);
    *poisoned_slot(store, hash) = (struct poisoned_key){
        .hash = hash,
        .until_ms = loop_clock(store->loop)->now_ms + POISONED_MS,
    };
    read->is_poisoned = true;
    refuse_later(store, &read->request);
}

static bool is_poisoned(struct route_store_redis *store, enum record_kind kind, struct slice id)
{
    uint64_t hash = hash_of(store, kind, id);
    const struct poisoned_key *slot = poisoned_slot(store, hash);

    return slot->hash == hash && slot->until_ms > loop_clock(store->loop)->now_ms;
}

static void log_malformed(struct route_store_redis *store, const struct route_read *read,
                          const char *why, struct slice field)
{
    uint64_t hash = hash_of(store, read->kind, read->id);
    uint64_t *slot = &store->logged_keys[hash / 2 % LOGGED_KEYS];

    if (*slot != hash)
        log_error("redis: key=%s%s:{%.*s} %s%.*s: it is no route until it is corrected",
                  store->prefix, record_kind_text(read->kind),
                  SLICE_ARGS(slice_first(read->id, 256)), why, SLICE_ARGS(field));
    *slot = hash;
}

static void log_refused(struct route_store_redis *store, const struct redis_reply *reply)
{
    uint64_t now_ms = loop_clock(store->loop)->now_ms;

    if (store->logged_ms != 0 && now_ms - store->logged_ms < LOG_EVERY_MS)
        return;
    store->logged_ms = now_ms;
    log_error("redis: HGETALL was refused: %.*s", SLICE_ARGS(slice_first(reply->text, 200)));
}

static bool is_hash(const struct redis_reply *reply)
{
    if (reply->kind != REDIS_ARRAY || reply->item_count % 2 != 0)
        return false;
    for (size_t i = 0; i < reply->item_count; i++)
        if (reply->items[i].kind != REDIS_TEXT)
            return false;
    return true;
}

static enum status decode_hash(struct route_store_redis *store, const struct route_read *read,
                               const struct redis_reply *reply, struct record **out_record)
{
    size_t count = reply->item_count / 2;
    struct record_field *fields = mem_alloc(count * sizeof(*fields));
    struct slice wrong;

    for (size_t i = 0; i < count; i++)
        fields[i] = (struct record_field){ .name = reply->items[2 * i].text,
                                           .value = reply->items[2 * i + 1].text };
    enum status status =
        record_from_fields(read->kind, read->id, fields, count, &wrong, out_record);

    mem_free(fields);
    if (status != STATUS_OK)
        log_malformed(store, read, "has no valid field ", wrong);
    return status;
}

static enum status decode(struct route_store_redis *store, const struct route_read *read,
                          const struct redis_reply *reply, struct record **out_record)
{
    if (reply->kind == REDIS_ERROR && slice_starts_with(reply->text, SLICE("WRONGTYPE"))) {
        log_malformed(store, read, "is no hash", SLICE_EMPTY);
        return STATUS_MALFORMED;
    }
    if (reply->kind == REDIS_ERROR) {
        log_refused(store, reply);
        return STATUS_ROUTE_UNAVAILABLE;
    }
    if (reply->item_count == 0)
        return record_missing_status(read->kind);
    return decode_hash(store, read, reply, out_record);
}

static void end_read(struct request *request, const struct redis_reply *reply)
{
    struct route_read *read = CONTAINER_OF(request, struct route_read, request);
    struct route_store_redis *store = request->store;
    route_read_fn *on_read = read->on_read;
    void *arg = read->arg;
    struct record *record = NULL;
    enum status status = read->is_poisoned ? STATUS_MALFORMED : STATUS_ROUTE_UNAVAILABLE;

    if (reply != NULL && reply->kind != REDIS_ERROR && !is_hash(reply)) {
        redis_pair_refuse(store->pair, "HGETALL gave no hash"); /* on_down() deals with it */
        return;
    }
    if (on_read != NULL && reply != NULL)
        status = decode(store, read, reply, &record);
    request_free(request);
    if (on_read != NULL)
        on_read(arg, status, record);
}

static struct route_read *start_read(struct route_store *store, enum record_kind kind,
                                     struct slice id, route_read_fn *on_read, void *arg)
{
    struct route_store_redis *s = redis_of(store);
    struct route_read *read = mem_zeroed(sizeof(*read) + id.len);
    struct buf key = { 0 };

    memcpy(read + 1, id.ptr, id.len);
    read->id = slice_of(read + 1, id.len);
    read->kind = kind;
    read->on_read = on_read;
    read->arg = arg;
    read->request.is_read = true;
    read->request.end = end_read;
    route_store_redis_append_key(store, kind, id, &key);
    const struct slice words[] = { SLICE("HGETALL"), buf_slice(&key) };
    redis_command_append(&read->request.bytes, words, 2);
    buf_deinit(&key);
    request_init(s, &read->request);
    if (is_poisoned(s, kind, id)) {
        read->is_poisoned = true;
        refuse_later(s, &read->request);
    } else {
        request_start(s, &read->request);
    }
    return read;
}

static void cancel_read(struct route_store *store, struct route_read *read)
{
    (void)store;
    read->on_read = NULL;
    if (!read->request.is_sent) /* else its place in the order of replies is needed */
        request_free(&read->request);
}

/* ---- commands ---- */

static void end_command(struct request *request, const struct redis_reply *reply)
{
    struct redis_command *command = CONTAINER_OF(request, struct redis_command, request);
    route_store_redis_reply_fn *told = command->on_reply;
    void *arg = command->arg;

    request_free(request);
    if (told != NULL)
        told(arg, reply != NULL ? STATUS_OK : STATUS_ROUTE_UNAVAILABLE, reply);
}

static void on_expiry(struct timer *timer)
{
    struct route_store_redis *store = CONTAINER_OF(timer, struct route_store_redis, expiry);
    uint64_t now_ms = loop_clock(store->loop)->now_ms;

    LIST_EACH(&store->waiting, link)
    {
        struct request *request = LIST_ITEM(link, struct request, link);

        if (request->is_read || request->due_ms > now_ms)
            continue;
        list_unlink(&request->link);
        list_append(&store->refused, &request->link);
    }
    refuse(&store->refuse);
    LIST_EACH(&store->waiting, link)
    {
        const struct request *request = LIST_ITEM(link, struct request, link);

        if (request->is_read)
            continue;
        timer_arm(&store->expiry, request->due_ms > now_ms ? request->due_ms - now_ms : 1);
        return; /* the oldest first */
    }
}

struct redis_command *route_store_redis_command(struct route_store *store,
                                                const struct slice *words, size_t word_count,
                                                route_store_redis_reply_fn *told, void *arg)
{
    struct route_store_redis *s = redis_of(store);
    struct redis_command *command = mem_zeroed(sizeof(*command));

    ENSURE(word_count > 0);
    command->on_reply = told;
    command->arg = arg;
    command->request.end = end_command;
    command->request.due_ms = loop_clock(s->loop)->now_ms + s->options.connect_timeout_ms;
    redis_command_append(&command->request.bytes, words, word_count);
    request_init(s, &command->request);
    request_start(s, &command->request);
    if (!command->request.is_sent && !timer_is_armed(&s->expiry))
        timer_arm(&s->expiry, s->options.connect_timeout_ms);
    return command;
}

void route_store_redis_cancel(struct redis_command **command)
{
    struct redis_command *c = *command;

    if (c == NULL)
        return;
    *command = NULL;
    c->on_reply = NULL;
    if (!c->request.is_sent)
        request_free(&c->request);
}

/* ---- what the pair tells ---- */

static void on_up(void *owner)
{
    struct route_store_redis *store = owner;

    if (store->was_up) {
        counter_add(&store->counters.flushes, 1);
        store->store.events->on_flushed(store->store.owner);
    }
    store->was_up = true;
    store->store.events->on_link(store->store.owner, true);
    while (!list_is_empty(&store->waiting))
        send(store, LIST_FIRST(&store->waiting, struct request, link));
}

/* Reads wait again, ahead of those that wait already. */
static void on_down(void *owner, bool reply_was_refused)
{
    struct route_store_redis *store = owner;
    struct list reads;

    list_init(&reads);
    LIST_EACH(&store->sent, link)
    {
        struct request *request = LIST_ITEM(link, struct request, link);
        struct route_read *read = CONTAINER_OF(request, struct route_read, request);
        bool is_culprit = reply_was_refused && link->prev == &store->sent;

        request->is_sent = false;
        if (!request->is_read) {
            refuse_later(store, request);
        } else if (is_culprit) {
            poison(store, read);
        } else if (read->on_read == NULL) {
            request_free(request);
        } else {
            list_unlink(&request->link);
            list_append(&reads, &request->link);
        }
        reply_was_refused = false; /* the first only */
    }
    list_move_all(&reads, &store->waiting);
    list_move_all(&store->waiting, &reads);
    store->store.events->on_link(store->store.owner, false);
}

static void on_changed(void *owner, struct slice key)
{
    struct route_store_redis *store = owner;
    struct slice rest = key;
    uint64_t hash = map_hash(key) | 1;

    if (!slice_starts_with(rest, slice_from_string(store->prefix)))
        return;
    rest = slice_skip(rest, strlen(store->prefix));
    for (unsigned kind = 0; kind < RECORD_KIND_COUNT; kind++) {
        struct slice name = slice_from_string(record_kind_text((enum record_kind)kind));

        if (!slice_starts_with(rest, name))
            continue;
        rest = slice_skip(rest, name.len);
        if (rest.len > 3 && slice_starts_with(rest, SLICE(":{")) &&
            slice_ends_with(rest, SLICE("}"))) {
            poisoned_slot(store, hash)->hash = 0; /* the new one may be better */
            store->store.events->on_changed(store->store.owner, (enum record_kind)kind,
                                            slice_of(rest.ptr + 2, rest.len - 3));
        }
        return;
    }
}

static void on_flushed(void *owner)
{
    struct route_store_redis *store = owner;

    counter_add(&store->counters.flushes, 1);
    store->store.events->on_flushed(store->store.owner);
}

static const struct redis_pair_events pair_events = {
    .on_up = on_up,
    .on_down = on_down,
    .on_changed = on_changed,
    .on_flushed = on_flushed,
};

/* ---- life ---- */

static void free_all(struct list *requests)
{
    while (!list_is_empty(requests))
        request_free(LIST_FIRST(requests, struct request, link));
}

static void destroy(struct route_store *store)
{
    struct route_store_redis *s = redis_of(store);

    redis_pair_destroy(&s->pair);
    free_all(&s->waiting);
    free_all(&s->sent);
    free_all(&s->refused);
    task_cancel(&s->refuse);
    timer_cancel(&s->expiry);
    tls_context_unref(&s->options.tls);
    redis_endpoint_deinit(&s->endpoint);
    mem_free(s->prefix);
    mem_free(s);
}

static const struct route_store_ops redis_ops = {
    .read = start_read,
    .cancel = cancel_read,
    .destroy = destroy,
};

/* Until a resolver takes the store: a command line tool needs none. */
static void ignore_changed(void *owner, enum record_kind kind, struct slice id)
{
    (void)owner;
    (void)kind;
    (void)id;
}

static void ignore_flushed(void *owner)
{
    (void)owner;
}

static void ignore_link(void *owner, bool is_up)
{
    (void)owner;
    (void)is_up;
}

static const struct route_store_events no_events = {
    .on_changed = ignore_changed,
    .on_flushed = ignore_flushed,
    .on_link = ignore_link,
};

struct route_store *route_store_redis_create(struct loop *loop,
                                             const struct route_store_redis_options *options)
{
    struct route_store_redis *store = mem_zeroed(sizeof(*store));

    ENSURE(!options->endpoint->tls || options->tls != NULL);
    store->store.ops = &redis_ops;
    store->store.events = &no_events;
    store->loop = loop;
    store->options = *options;
    redis_endpoint_copy(options->endpoint, &store->endpoint);
    store->options.endpoint = &store->endpoint;
    store->prefix = mem_copy_string(options->prefix != NULL ? options->prefix : "");
    store->options.prefix = store->prefix;
    store->options.tls = options->tls != NULL ? tls_context_ref(options->tls) : NULL;
    list_init(&store->waiting);
    list_init(&store->sent);
    list_init(&store->refused);
    task_init(&store->refuse, refuse);
    timer_init(&store->expiry, loop, on_expiry);
    store->pair = redis_pair_create(loop, &store->options, &pair_events, store, &store->counters);
    return &store->store;
}

const struct route_store_redis_counters *route_store_redis_counters(const struct route_store *store)
{
    return &redis_of(store)->counters;
}

const char *route_store_redis_prefix(const struct route_store *store)
{
    return redis_of(store)->prefix;
}

void route_store_redis_append_key(const struct route_store *store, enum record_kind kind,
                                  struct slice id, struct buf *out)
{
    buf_printf(out, "%s%s:{", redis_of(store)->prefix, record_kind_text(kind));
    buf_append(out, id);
    buf_append_byte(out, '}');
}
