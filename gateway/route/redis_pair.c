/* route/redis_pair.c — see redis_pair.h.
 *
 *     subscribing link:  ready ─ CLIENT ID ─ SUBSCRIBE ─┐
 *                                                       ├─ CLIENT TRACKING ON REDIRECT id BCAST … ─
 * PING ─ up command link:      ready ─────────────────────────┘
 *
 * A command link does not learn that the link which gets its invalidations has died, hence both go
 * when one goes. The PING finds a Redis that is still loading its data; ROLE, where sentinels say
 * which Redis it is, one that is no master any more, or not yet. */
#include "route/redis_pair.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/timer.h"
#include "route/redis_sentinels.h"
#include "route/redis_trouble.h"

enum { STEADY_MS = 1000 }; /* up for less: the next retry waits longer still */

struct redis_pair {
    struct loop *loop;
    const struct route_store_redis_options *options;
    const struct redis_pair_events *events;
    void *owner;
    struct route_store_redis_counters *counters;
    struct redis_sentinels *sentinels; /* NULL: the endpoint says where Redis is */
    struct redis_link *subscriber;
    struct redis_link *commander;
    struct timer retry;
    unsigned attempts;     /* that failed in a row */
    int64_t subscriber_id; /* -1: not known yet */
    bool is_subscribed;
    bool is_commander_ready;
    bool is_up;
    uint64_t up_ms; /* since when */
    uint64_t down_ms;
    struct redis_trouble trouble; /* over while it is up */
};

static const struct redis_link_events subscriber_events, commander_events;

static uint64_t now_ms(const struct redis_pair *pair)
{
    return loop_clock(pair->loop)->now_ms;
}

/* ---- down ---- */

static uint64_t retry_delay_ms(const struct redis_pair *pair)
{
    uint64_t delay_ms = pair->options->retry_min_ms;
    uint64_t limit_ms = pair->options->retry_max_ms;

    for (unsigned i = 0; i < pair->attempts && delay_ms < limit_ms; i++)
        delay_ms *= 2;
    if (delay_ms > limit_ms)
        delay_ms = limit_ms;
    if (delay_ms == 0)
        delay_ms = 1;
    return delay_ms / 2 + arc4random_uniform((uint32_t)(delay_ms - delay_ms / 2) + 1);
}

static void log_down(struct redis_pair *pair, const char *why)
{
    if (!redis_trouble_is_news(&pair->trouble, why, now_ms(pair)))
        return;
    log_warn("redis: %s: %s; routes come from memory until it is back",
             pair->is_up ? "connection lost" : "not connected", why);
}

static bool has_links(const struct redis_pair *pair)
{
    return pair->subscriber != NULL || pair->commander != NULL;
}

/* Returns whether it was up: the owner is told when all else is done, as it may destroy the pair. */
static bool drop_links(struct redis_pair *pair, const char *why)
{
    bool was_up = pair->is_up;

    log_down(pair, why);
    redis_link_destroy(&pair->subscriber);
    redis_link_destroy(&pair->commander);
    counter_add(&pair->counters->disconnects, 1);
    pair->is_up = false;
    if (was_up && now_ms(pair) - pair->up_ms >= STEADY_MS)
        pair->attempts = 0;
    if (was_up)
        pair->down_ms = now_ms(pair);
    atomic_store_explicit(&pair->counters->link_up.value, 0, memory_order_relaxed);
    return was_up;
}

static void lose(struct redis_pair *pair, const char *why, bool reply_was_refused)
{
    bool was_up;

    if (!has_links(pair))
        return; /* it waits to try again already */
    was_up = drop_links(pair, why);
    timer_arm(&pair->retry, retry_delay_ms(pair));
    if (pair->attempts < 16)
        pair->attempts++;
    if (was_up)
        pair->events->on_down(pair->owner, reply_was_refused);
}

void redis_pair_refuse(struct redis_pair *pair, const char *why)
{
    lose(pair, why, true);
}

static void on_subscriber_lost(void *owner, const char *why, bool reply_was_refused)
{
    (void)reply_was_refused; /* too many changes at once: nothing that was asked for */
    lose(owner, why, false);
}

static void on_commander_lost(void *owner, const char *why, bool reply_was_refused)
{
    lose(owner, why, reply_was_refused);
}

static bool lose_if_refused(struct redis_pair *pair, const struct redis_reply *reply,
                            const char *command)
{
    char why[REDIS_WHY_BYTES];

    if (reply->kind != REDIS_ERROR)
        return false;
    redis_refusal(command, reply, why);
    lose(pair, why, false);
    return true;
}

/* ---- up ---- */

static bool is_master(const struct redis_reply *role)
{
    return role->kind == REDIS_ARRAY && role->item_count > 0 &&
           slice_equal(role->items[0].text, SLICE("master"));
}

static void on_last_step(void *arg, const struct redis_reply *reply)
{
    struct redis_pair *pair = arg;

    if (lose_if_refused(pair, reply, pair->sentinels != NULL ? "ROLE" : "PING"))
        return;
    if (pair->sentinels != NULL && !is_master(reply)) {
        lose(pair, "it is no master", false);
        return;
    }
    pair->is_up = true;
    pair->up_ms = now_ms(pair);
    redis_trouble_is_over(&pair->trouble);
    log_info("redis: connected, changes are pushed; was away for %llu ms",
             (unsigned long long)(pair->up_ms - pair->down_ms));
    atomic_store_explicit(&pair->counters->link_up.value, 1, memory_order_relaxed);
    pair->events->on_up(pair->owner);
}

static void on_tracking(void *arg, const struct redis_reply *reply)
{
    (void)lose_if_refused(arg, reply, "CLIENT TRACKING");
}

static void on_pong(void *arg, const struct redis_reply *reply)
{
    (void)lose_if_refused(arg, reply, "PING");
}

static void track(struct redis_pair *pair)
{
    char id[24];
    struct buf prefixes[RECORD_KIND_COUNT] = { 0 };
    struct slice words[6 + 2 * RECORD_KIND_COUNT] = { SLICE("CLIENT"), SLICE("TRACKING"),
                                                      SLICE("ON"), SLICE("REDIRECT") };
    size_t count = 4;

    snprintf(id, sizeof(id), "%lld", (long long)pair->subscriber_id);
    words[count++] = slice_from_string(id);
    words[count++] = SLICE("BCAST");
    for (unsigned kind = 0; kind < RECORD_KIND_COUNT; kind++) {
        buf_printf(&prefixes[kind], "%s%s:", pair->options->prefix,
                   record_kind_text((enum record_kind)kind));
        words[count++] = SLICE("PREFIX");
        words[count++] = buf_slice(&prefixes[kind]);
    }
    redis_link_send_words(pair->commander, words, count, on_tracking, pair);
    words[0] = SLICE("PING");
    redis_link_send_words(pair->commander, words, 1,
                          pair->sentinels != NULL ? on_pong : on_last_step, pair);
    if (pair->sentinels != NULL) {
        words[0] = SLICE("ROLE");
        redis_link_send_words(pair->commander, words, 1, on_last_step, pair);
    }
    for (unsigned kind = 0; kind < RECORD_KIND_COUNT; kind++)
        buf_deinit(&prefixes[kind]);
}

static void step(struct redis_pair *pair)
{
    if (pair->subscriber_id >= 0 && pair->is_subscribed && pair->is_commander_ready)
        track(pair);
}

static void on_subscriber_id(void *arg, const struct redis_reply *reply)
{
    struct redis_pair *pair = arg;

    if (lose_if_refused(pair, reply, "CLIENT ID"))
        return;
    if (reply->kind == REDIS_INTEGER && reply->integer >= 0)
        pair->subscriber_id = reply->integer;
    else
        lose(pair, "CLIENT ID has no number", false);
}

static void on_subscribed(void *arg, const struct redis_reply *reply)
{
    struct redis_pair *pair = arg;

    if (lose_if_refused(pair, reply, "SUBSCRIBE"))
        return;
    pair->is_subscribed = true;
    step(pair);
}

static void on_subscriber_ready(void *owner, struct redis_link *link)
{
    const struct slice id[] = { SLICE("CLIENT"), SLICE("ID") };
    const struct slice subscribe[] = { SLICE("SUBSCRIBE"), SLICE("__redis__:invalidate") };

    redis_link_send_words(link, id, 2, on_subscriber_id, owner);
    redis_link_send_words(link, subscribe, 2, on_subscribed, owner);
}

static void on_commander_ready(void *owner, struct redis_link *link)
{
    struct redis_pair *pair = owner;

    (void)link;
    pair->is_commander_ready = true;
    step(pair);
}

/* ["message", "__redis__:invalidate", keys or nil] */
static void on_message(void *owner, const struct redis_reply *message)
{
    struct redis_pair *pair = owner;
    const struct redis_reply *keys = &message->items[2];

    if (keys->kind == REDIS_NIL) {
        if (pair->is_up)
            pair->events->on_flushed(pair->owner);
        return;
    }
    /* an event may end the pair (never this reply): look again each time */
    for (size_t i = 0; i < keys->item_count && pair->is_up; i++) {
        counter_add(&pair->counters->invalidations, 1);
        if (keys->items[i].kind == REDIS_TEXT)
            pair->events->on_changed(pair->owner, keys->items[i].text);
    }
}

static void on_unexpected_message(void *owner, const struct redis_reply *message)
{
    (void)message;
    lose(owner, "message on the command connection", false);
}

static const struct redis_link_events subscriber_events = {
    .on_ready = on_subscriber_ready,
    .on_message = on_message,
    .on_lost = on_subscriber_lost,
};

static const struct redis_link_events commander_events = {
    .on_ready = on_commander_ready,
    .on_message = on_unexpected_message,
    .on_lost = on_commander_lost,
};

static void connect_both(struct redis_pair *pair)
{
    const struct route_store_redis_options *o = pair->options;
    const struct redis_endpoint *endpoint =
        pair->sentinels != NULL ? redis_sentinels_master(pair->sentinels) : o->endpoint;
    struct redis_link_options options = {
        .endpoint = endpoint,
        .tls = o->tls,
        .connect_timeout_ms = o->connect_timeout_ms,
        .reply_timeout_ms = o->reply_timeout_ms,
        .limits = { .bytes = o->reply_bytes, .elements = o->reply_elements, .depth = 2 },
    };

    if (endpoint == NULL)
        return; /* until a sentinel knows */
    pair->subscriber_id = -1;
    pair->is_subscribed = false;
    pair->is_commander_ready = false;
    pair->subscriber =
        redis_link_create(pair->loop, &options, &subscriber_events, pair, pair->counters);
    options.limits.depth = pair->sentinels != NULL ? 3 : 1; /* ROLE lists the replicas */
    options.selects = true;
    pair->commander =
        redis_link_create(pair->loop, &options, &commander_events, pair, pair->counters);
}

static void on_retry(struct timer *timer)
{
    connect_both(CONTAINER_OF(timer, struct redis_pair, retry));
}

/* What is connected, or was to be, is not the master: no wait, the new one is there. */
static void on_master(void *owner)
{
    struct redis_pair *pair = owner;

    bool was_up = has_links(pair) && drop_links(pair, "another Redis is the master now");

    pair->attempts = 0;
    timer_arm(&pair->retry, 0);
    if (was_up)
        pair->events->on_down(pair->owner, false);
}

struct redis_pair *redis_pair_create(struct loop *loop,
                                     const struct route_store_redis_options *options,
                                     const struct redis_pair_events *events, void *owner,
                                     struct route_store_redis_counters *counters)
{
    struct redis_pair *pair = mem_zeroed(sizeof(*pair));

    pair->loop = loop;
    pair->options = options;
    pair->events = events;
    pair->owner = owner;
    pair->counters = counters;
    pair->down_ms = now_ms(pair);
    timer_init(&pair->retry, loop, on_retry);
    if (options->endpoint->sentinel_count > 0)
        pair->sentinels = redis_sentinels_create(loop, options, on_master, pair, counters);
    connect_both(pair);
    return pair;
}

void redis_pair_destroy(struct redis_pair **pair)
{
    struct redis_pair *p = *pair;

    if (p == NULL)
        return;
    *pair = NULL;
    timer_cancel(&p->retry);
    redis_link_destroy(&p->subscriber);
    redis_link_destroy(&p->commander);
    redis_sentinels_destroy(&p->sentinels);
    mem_free(p);
}

bool redis_pair_is_up(const struct redis_pair *pair)
{
    return pair->is_up;
}

void redis_pair_send(struct redis_pair *pair, struct slice command, redis_link_reply_fn *on_reply,
                     void *arg)
{
    ENSURE(pair->is_up);
    redis_link_send(pair->commander, command, on_reply, arg);
}
