/* route/redis_sentinels.c — see redis_sentinels.h.
 *
 *     link ready ──▶ UNSUBSCRIBE, SENTINEL MASTER name, SUBSCRIBE +switch-master ◀── every second,
 *                                     │                                              or announced
 *                                     ▼
 *                     its answer ──▶ the best of all answers ──▶ on_master, when it is another
 *
 * A subscribed connection (RESP2) may ask nothing, hence the UNSUBSCRIBE; the three go out in one
 * write, and an announcement that fell in between is found a second later. */
#include "route/redis_sentinels.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/timer.h"
#include "route/redis_trouble.h"

enum { ASK_EVERY_MS = 1000, RETRY_MS = 1000, REPLY_BYTES = 64 * 1024, REPLY_ELEMENTS = 512 };

struct sentinel {
    struct redis_sentinels *all;
    const struct redis_endpoint *endpoint;
    struct redis_link *link; /* NULL: waits to try again */
    struct timer tick;       /* asks, or connects */
    bool is_ready;
    char *host; /* its answer; NULL: none that counts now */
    uint16_t port;
    uint64_t epoch;
    struct redis_trouble trouble;
};

struct redis_sentinels {
    struct loop *loop;
    const struct route_store_redis_options *options;
    redis_master_fn *on_master;
    void *owner;
    struct route_store_redis_counters *counters;
    struct route_store_redis_counters own; /* the links': not mixed with those of Redis itself */
    struct redis_endpoint master;          /* the endpoint of the options, but for host and port */
    bool is_known;
    struct sentinel *items;
    size_t count;
};

static const struct redis_link_events sentinel_events;

static uint64_t now_ms(const struct sentinel *sentinel)
{
    return loop_clock(sentinel->all->loop)->now_ms;
}

static void log_trouble(struct sentinel *sentinel, const char *why)
{
    if (redis_trouble_is_news(&sentinel->trouble, why, now_ms(sentinel)))
        log_warn("redis: sentinel %s:%u: %s", sentinel->endpoint->host,
                 (unsigned)sentinel->endpoint->port, why);
}

static void forget_answer(struct sentinel *sentinel)
{
    mem_free(sentinel->host);
    sentinel->host = NULL;
}

/* ---- which master ---- */

/* NULL: nobody knows one. Among equals the first of the configuration is as good as any. */
static const struct sentinel *best_answer(const struct redis_sentinels *all)
{
    const struct sentinel *best = NULL;

    for (size_t i = 0; i < all->count; i++)
        if (all->items[i].host != NULL && (best == NULL || all->items[i].epoch > best->epoch))
            best = &all->items[i];
    return best;
}

static void choose(struct redis_sentinels *all)
{
    const struct sentinel *best = best_answer(all);
    struct redis_endpoint before = all->master;

    if (best == NULL ||
        (all->is_known && best->port == before.port && strcmp(best->host, before.host) == 0))
        return;
    redis_endpoint_copy_at(&before, best->host, best->port, &all->master);
    all->is_known = true;
    counter_add(&all->counters->master_changes, 1);
    log_info("redis: the master is %s:%u, says sentinel %s:%u (epoch %llu)", best->host,
             (unsigned)best->port, best->endpoint->host, (unsigned)best->endpoint->port,
             (unsigned long long)best->epoch);
    all->on_master(all->owner); /* may destroy `all` */
    redis_endpoint_deinit(&before);
}

/* ---- asking ---- */

static struct slice field(const struct redis_reply *reply, const char *name)
{
    for (size_t i = 0; i + 1 < reply->item_count; i += 2)
        if (slice_equal(reply->items[i].text, slice_from_string(name)))
            return reply->items[i + 1].text;
    return slice_of(NULL, 0);
}

static void refused(struct sentinel *sentinel, const char *command, const struct redis_reply *reply)
{
    char why[REDIS_WHY_BYTES];

    redis_refusal(command, reply, why);
    log_trouble(sentinel, why);
}

static void on_master_told(void *arg, const struct redis_reply *reply)
{
    struct sentinel *sentinel = arg;
    struct slice ip, port_text;
    uint64_t port = 0, epoch = 0;

    forget_answer(sentinel);
    if (reply->kind == REDIS_ERROR) {
        refused(sentinel, "SENTINEL MASTER", reply); /* it does not watch a master of that name */
        return;
    }
    ip = field(reply, "ip");
    port_text = field(reply, "port");
    if (ip.len == 0 || !slice_to_u64(port_text, &port) || port < 1 || port > 65535 ||
        !slice_to_u64(field(reply, "config-epoch"), &epoch)) {
        log_trouble(sentinel, "SENTINEL MASTER: answer without ip, port or config-epoch");
        return;
    }
    sentinel->host = slice_dup(ip);
    sentinel->port = (uint16_t)port;
    sentinel->epoch = epoch;
    redis_trouble_is_over(&sentinel->trouble);
    choose(sentinel->all);
}

static void on_subscribed(void *arg, const struct redis_reply *reply)
{
    if (reply->kind == REDIS_ERROR)
        refused(arg, "SUBSCRIBE", reply); /* asking every second has to do */
}

static void ask(struct sentinel *sentinel)
{
    const struct slice channel = SLICE("+switch-master");
    const struct slice unsubscribe[] = { SLICE("UNSUBSCRIBE"), channel };
    const struct slice subscribe[] = { SLICE("SUBSCRIBE"), channel };
    const struct slice master[] = { SLICE("SENTINEL"), SLICE("MASTER"),
                                    slice_from_string(sentinel->all->options->endpoint->host) };

    timer_arm(&sentinel->tick, ASK_EVERY_MS);
    redis_link_send_words(sentinel->link, unsubscribe, 2, NULL, NULL);
    redis_link_send_words(sentinel->link, master, 3, on_master_told, sentinel);
    redis_link_send_words(sentinel->link, subscribe, 2, on_subscribed, sentinel);
}

/* ---- the link ---- */

static void on_ready(void *owner, struct redis_link *link)
{
    struct sentinel *sentinel = owner;

    (void)link;
    sentinel->is_ready = true;
    ask(sentinel);
}

/* ["message", "+switch-master", "name old-ip old-port new-ip new-port"] */
static void on_announced(void *owner, const struct redis_reply *message)
{
    struct sentinel *sentinel = owner;
    struct slice rest = message->items[2].text;

    if (slice_equal(slice_cut(&rest, ' '),
                    slice_from_string(sentinel->all->options->endpoint->host)))
        ask(sentinel);
}

static void on_lost(void *owner, const char *why, bool reply_was_refused)
{
    struct sentinel *sentinel = owner;

    (void)reply_was_refused;
    log_trouble(sentinel, why);
    redis_link_destroy(&sentinel->link);
    sentinel->is_ready = false;
    timer_arm(&sentinel->tick, RETRY_MS / 2 + arc4random_uniform(RETRY_MS / 2 + 1));
    forget_answer(sentinel);
    choose(sentinel->all);
}

static const struct redis_link_events sentinel_events = {
    .on_ready = on_ready,
    .on_message = on_announced,
    .on_lost = on_lost,
};

static void connect_to(struct sentinel *sentinel)
{
    const struct route_store_redis_options *o = sentinel->all->options;
    const struct redis_link_options options = {
        .endpoint = sentinel->endpoint,
        .tls = o->tls,
        .connect_timeout_ms = o->connect_timeout_ms,
        .reply_timeout_ms = o->reply_timeout_ms,
        .limits = { .bytes = REPLY_BYTES, .elements = REPLY_ELEMENTS, .depth = 1 },
    };

    sentinel->link = redis_link_create(sentinel->all->loop, &options, &sentinel_events, sentinel,
                                       &sentinel->all->own);
}

static void on_tick(struct timer *timer)
{
    struct sentinel *sentinel = CONTAINER_OF(timer, struct sentinel, tick);

    if (sentinel->link == NULL)
        connect_to(sentinel);
    else if (sentinel->is_ready)
        ask(sentinel);
}

/* ---- life ---- */

struct redis_sentinels *redis_sentinels_create(struct loop *loop,
                                               const struct route_store_redis_options *options,
                                               redis_master_fn *on_master, void *owner,
                                               struct route_store_redis_counters *counters)
{
    struct redis_sentinels *all = mem_zeroed(sizeof(*all));

    all->loop = loop;
    all->options = options;
    all->on_master = on_master;
    all->owner = owner;
    all->counters = counters;
    redis_endpoint_copy_at(options->endpoint, "", 0, &all->master);
    all->count = options->endpoint->sentinel_count;
    all->items = mem_zeroed(all->count * sizeof(*all->items));
    for (size_t i = 0; i < all->count; i++) {
        all->items[i].all = all;
        all->items[i].endpoint = &options->endpoint->sentinels[i];
        timer_init(&all->items[i].tick, loop, on_tick);
        connect_to(&all->items[i]);
    }
    return all;
}

void redis_sentinels_destroy(struct redis_sentinels **sentinels)
{
    struct redis_sentinels *all = *sentinels;

    if (all == NULL)
        return;
    *sentinels = NULL;
    for (size_t i = 0; i < all->count; i++) {
        timer_cancel(&all->items[i].tick);
        redis_link_destroy(&all->items[i].link);
        forget_answer(&all->items[i]);
    }
    mem_free(all->items);
    redis_endpoint_deinit(&all->master);
    mem_free(all);
}

const struct redis_endpoint *redis_sentinels_master(const struct redis_sentinels *sentinels)
{
    return sentinels->is_known ? &sentinels->master : NULL;
}
