/* route/redis_pair.h — the two links of a worker, kept up together: one is subscribed to
 * __redis__:invalidate, the other has tracking redirected to it. They live and die as one, so that
 * as long as the pair is up no change goes unseen. Part of route/. */
#pragma once

#include "route/redis_link.h"

struct redis_pair;

struct redis_pair_events {
    void (*on_up)(void *owner);
    /* After on_up only; nothing that was sent is answered any more. `reply_was_refused`: because
     * the oldest of what was sent has a reply that cannot be taken. */
    void (*on_down)(void *owner, bool reply_was_refused);
    void (*on_changed)(void *owner, struct slice key);
    void (*on_flushed)(void *owner); /* FLUSHALL, or Redis forgot what it tracks */
};

/* Returns owned; starts to connect. Borrows `options` (the store's copy) for its life. */
struct redis_pair *redis_pair_create(struct loop *loop,
                                     const struct route_store_redis_options *options,
                                     const struct redis_pair_events *events, void *owner,
                                     struct route_store_redis_counters *counters);
void redis_pair_destroy(
    struct redis_pair **pair); /* no events; sets *pair to NULL; may already be NULL */

bool redis_pair_is_up(const struct redis_pair *pair);

/* Only while it is up. As redis_link_send(), on the command link. */
void redis_pair_send(struct redis_pair *pair, struct slice command, redis_link_reply_fn *on_reply,
                     void *arg);

/* The oldest of what was sent has a reply that makes no sense: tear both down and begin anew. */
void redis_pair_refuse(struct redis_pair *pair, const char *why);
