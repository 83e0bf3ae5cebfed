/* proxy/wake.c — see wake.h. An entry lives while somebody waits or a command of it is under way. */
#include "proxy/wake.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "proxy/proxy_internal.h"
#include "route/route_store_redis.h"

enum { NUMBER_BYTES = 24 };

struct wake_entry {
    struct map_entry by_computer;
    struct wake_queue *queue;
    struct redis_command *command;
    uint64_t asked_ms; /* 0: not yet */
    uint64_t repeat_ms;
    size_t stream_length;
    size_t waiting;
    bool is_ours;   /* it was we who wrote the key */
    bool is_done;   /* the key should go */
    bool is_wanted; /* ask when the command that is under way has ended */
    char id[];
};

static uint64_t now_ms(const struct wake_queue *queue)
{
    return loop_clock(queue->proxy->loop)->now_ms;
}

static void ask(struct wake_entry *entry);

/* Whenever a command has ended, or somebody has left. */
static void go_on(struct wake_entry *entry)
{
    if (entry->command != NULL)
        return;
    if (entry->waiting > 0) {
        if (entry->is_wanted)
            ask(entry);
        return;
    }
    map_remove(&entry->queue->by_computer, &entry->by_computer);
    mem_free(entry);
}

/* ---- what is said to Redis ---- */

static void order(struct wake_entry *entry, const struct slice *words, size_t count,
                  route_store_redis_reply_fn *on_reply)
{
    entry->command = route_store_redis_command(route_resolver_store(entry->queue->proxy->routes),
                                               words, count, on_reply, entry);
}

static struct slice prefixed(const struct wake_entry *entry, const char *rest, struct buf *into)
{
    const struct route_store *store = route_resolver_store(entry->queue->proxy->routes);

    buf_printf(into, "%s%s", route_store_redis_prefix(store), rest);
    return buf_slice(into);
}

static struct slice key_of(const struct wake_entry *entry, struct buf *into)
{
    prefixed(entry, "wake:{", into);
    buf_append(into, entry->by_computer.key);
    buf_append_byte(into, '}');
    return buf_slice(into);
}

static void failed(struct wake_entry *entry, const struct redis_reply *reply)
{
    struct slice words = reply != NULL ? reply->text : SLICE("redis is away");

    counter_add(&entry->queue->proxy->counters.wakes_failed, 1);
    log_warn("wake: a computer cannot be asked for computer=%.*s error=\"%.*s\"",
             SLICE_ARGS(entry->by_computer.key), SLICE_ARGS(words));
    entry->asked_ms = 0; /* whoever comes next tries again */
}

static void on_deleted(void *arg, enum status status, const struct redis_reply *reply)
{
    struct wake_entry *entry = arg;

    (void)status; /* else the key ends by itself */
    (void)reply;
    entry->command = NULL;
    go_on(entry);
}

static void delete_key(struct wake_entry *entry)
{
    struct buf key = { 0 };
    const struct slice words[] = { SLICE("DEL"), key_of(entry, &key) };

    entry->is_ours = false;
    entry->is_done = false;
    entry->asked_ms = 0;
    order(entry, words, 2, on_deleted);
    buf_deinit(&key);
}

static void on_added(void *arg, enum status status, const struct redis_reply *reply)
{
    struct wake_entry *entry = arg;

    entry->command = NULL;
    if (status != STATUS_OK || reply->kind == REDIS_ERROR)
        failed(entry, status == STATUS_OK ? reply : NULL);
    else
        counter_add(&entry->queue->proxy->counters.wakes_asked, 1);
    if (entry->is_done || status != STATUS_OK || reply->kind == REDIS_ERROR)
        delete_key(entry);
    else
        go_on(entry);
}

static void add_to_stream(struct wake_entry *entry)
{
    struct buf stream = { 0 };
    char length[NUMBER_BYTES];

    snprintf(length, sizeof(length), "%zu", entry->stream_length);
    const struct slice words[] = {
        SLICE("XADD"),     prefixed(entry, "wake", &stream), SLICE("MAXLEN"),
        SLICE("~"),        slice_from_string(length),        SLICE("*"),
        SLICE("computer"), entry->by_computer.key,           SLICE("reason"),
        SLICE("request"),
    };
    order(entry, words, sizeof(words) / sizeof(words[0]), on_added);
    buf_deinit(&stream);
}

static void on_set(void *arg, enum status status, const struct redis_reply *reply)
{
    struct wake_entry *entry = arg;

    entry->command = NULL;
    if (status != STATUS_OK || reply->kind == REDIS_ERROR) {
        failed(entry, status == STATUS_OK ? reply : NULL);
    } else if (reply->kind != REDIS_NIL) { /* else another gateway, or worker, has asked */
        entry->is_ours = true;
        if (entry->is_done)
            delete_key(entry);
        else
            add_to_stream(entry);
        return;
    }
    entry->is_done = false;
    go_on(entry);
}

static void ask(struct wake_entry *entry)
{
    struct buf key = { 0 };
    char ms[NUMBER_BYTES];

    snprintf(ms, sizeof(ms), "%llu", (unsigned long long)entry->repeat_ms);
    const struct slice words[] = { SLICE("SET"), key_of(entry, &key), SLICE("1"),
                                   SLICE("NX"),  SLICE("PX"),         slice_from_string(ms) };

    entry->asked_ms = now_ms(entry->queue);
    entry->is_wanted = false;
    order(entry, words, sizeof(words) / sizeof(words[0]), on_set);
    buf_deinit(&key);
}

/* ---- who waits ---- */

void wake_init(struct wake_queue *queue, struct proxy *proxy)
{
    *queue = (struct wake_queue){ .proxy = proxy };
}

static void drop(struct map_entry *by_computer, void *arg)
{
    struct wake_entry *entry = CONTAINER_OF(by_computer, struct wake_entry, by_computer);

    (void)arg;
    ENSURE(entry->waiting == 0);
    route_store_redis_cancel(&entry->command);
    map_remove(&entry->queue->by_computer, by_computer);
    mem_free(entry);
}

void wake_deinit(struct wake_queue *queue)
{
    map_each(&queue->by_computer, drop, NULL);
    map_deinit(&queue->by_computer);
}

static struct wake_entry *entry_of(struct wake_queue *queue, struct slice id)
{
    struct map_entry *found = map_find(&queue->by_computer, id);

    if (found != NULL)
        return CONTAINER_OF(found, struct wake_entry, by_computer);

    struct wake_entry *entry = mem_zeroed(sizeof(*entry) + id.len);

    memcpy(entry->id, id.ptr, id.len);
    entry->queue = queue;
    entry->by_computer.key = slice_of(entry->id, id.len);
    map_insert(&queue->by_computer, &entry->by_computer);
    return entry;
}

struct wake_entry *wake_enter(struct wake_queue *queue, struct slice computer_id,
                              const struct wake_options *options)
{
    struct proxy_counters *counters = &queue->proxy->counters;

    if (queue->waiting >= options->pending_total) {
        counter_add(&counters->wakes_refused, 1);
        return NULL;
    }
    struct wake_entry *entry = entry_of(queue, computer_id);

    if (entry->waiting >= options->pending) { /* so it was asked for */
        counter_add(&counters->wakes_refused, 1);
        return NULL;
    }
    entry->waiting++;
    queue->waiting++;
    counter_add(&counters->wakes_waiting, 1);
    entry->repeat_ms = options->repeat_ms;
    entry->stream_length = options->stream_length;
    if (entry->asked_ms == 0 || now_ms(queue) - entry->asked_ms >= options->repeat_ms)
        entry->is_wanted = true;
    go_on(entry);
    return entry;
}

void wake_leave(struct wake_queue *queue, struct wake_entry **entry)
{
    struct wake_entry *left = *entry;

    *entry = NULL;
    if (left == NULL)
        return;
    left->waiting--;
    queue->waiting--;
    counter_subtract(&queue->proxy->counters.wakes_waiting, 1);
    go_on(left);
}

void wake_done(struct wake_queue *queue, struct wake_entry *entry)
{
    (void)queue;
    if (entry == NULL || (!entry->is_ours && entry->command == NULL))
        return;
    entry->asked_ms = 0;
    if (entry->command == NULL)
        delete_key(entry);
    else
        entry->is_done = true;
}
