/* route/route_store.h — where records come from: Redis, or a routes file. A store answers reads,
 * one by one, and says what changed; route_resolver puts the cache in front. One per worker, on its
 * loop. */
#pragma once

#include "net/loop.h"
#include "route/record.h"

struct route_store;

/* OK with a record (the receiver's reference), a *_UNKNOWN status (COMPUTER_UNKNOWN, HOST_UNKNOWN,
 * TOKEN_REVOKED for sessions) when there is none, MALFORMED when there is one that is not
 * understood, ROUTE_UNAVAILABLE when it cannot be known now. */
typedef void route_read_fn(void *arg, enum status status, struct record *record);

struct route_read;

struct route_store_events {
    /* This record changed or went; forget it. */
    void (*on_changed)(void *owner, enum record_kind kind, struct slice id);
    /* Anything may have changed unseen (link lost and back, FLUSHALL): what is known is doubtful.
     * Before on_link(true). */
    void (*on_flushed)(void *owner);
    /* Changes are (true) or are not (false) being pushed at present. Starts as false. */
    void (*on_link)(void *owner, bool is_up);
};

struct route_store_ops {
    struct route_read *(*read)(struct route_store *store, enum record_kind kind, struct slice id,
                               route_read_fn *on_read, void *arg);
    void (*cancel)(struct route_store *store, struct route_read *read);
    void (*destroy)(struct route_store *store);
};

struct route_store { /* embedded first in the kind's struct */
    const struct route_store_ops *ops;
    const struct route_store_events *events; /* set by the resolver before the first turn */
    void *owner;
};

/* Exactly one follows: on_read runs once, on a later turn; or route_store_cancel(). */
static inline struct route_read *route_store_read(struct route_store *store, enum record_kind kind,
                                                  struct slice id, route_read_fn *on_read,
                                                  void *arg)
{
    return store->ops->read(store, kind, id, on_read, arg);
}

static inline void route_store_cancel(struct route_store *store, struct route_read **read)
{
    if (*read != NULL)
        store->ops->cancel(store, *read);
    *read = NULL;
}

void route_store_destroy(struct route_store **store); /* sets *store to NULL; may already be NULL */
