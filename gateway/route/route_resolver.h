/* route/route_resolver.h — the one way to ask where a computer lives, what a host means, whether a
 * session still holds: cache first, then the store; equal lookups in flight are joined; unknown
 * keys are remembered briefly; while the store is away known records keep serving up to
 * max_stale_ms. One per worker; used only on its thread. */
#pragma once

#include "base/buf.h"
#include "base/counter.h"
#include "base/list.h"
#include "route/route_store.h"

struct route_resolver;

struct route_resolver_options {
    size_t max_entries;  /* 131072; the least recently used leaves first; watched entries stay */
    uint64_t found_ms;   /* 30 s: then read again, even with the link up (second line of defence) */
    uint64_t missing_ms; /* 2 s: how long "no such record" is remembered */
    uint64_t max_stale_ms; /* 10 min: how long a record serves after it was last known to be right,
                              link down */
    uint64_t lookup_ms;    /* 2 s: then ROUTE_UNAVAILABLE; at once when the link is down for longer
                              already */
};

struct route_resolver_counters {
    struct counter hits, misses, joined, negative_hits, stale_served, invalidations, flushes,
        unavailable;
    struct counter entries; /* gauge */
};

/* Takes the store. Copies `options`. */
struct route_resolver *route_resolver_create(struct loop *loop, struct route_store *store,
                                             const struct route_resolver_options *options);
void route_resolver_destroy(struct route_resolver **resolver);

/* Answers from memory: OK with a reference in *out_record; COMPUTER_UNKNOWN, HOST_UNKNOWN,
 * TOKEN_REVOKED; or AGAIN: ask with route_lookup_start(). A record older than found_ms is served
 * and read again behind the caller's back; while the link is down, every record that is not known
 * to have changed is served stale. A malformed record is ROUTE_UNAVAILABLE, never a route;
 * `revoked` of a session is the caller's to look at. */
MUST_CHECK enum status route_resolver_find(struct route_resolver *resolver, enum record_kind kind,
                                           struct slice id, struct record **out_record);

/* Exactly one of these follows:
 *  - on_found runs once, on a later turn (OK with a reference; *_UNKNOWN; TOKEN_REVOKED;
 * ROUTE_UNAVAILABLE);
 *  - route_lookup_cancel() is called, and on_found never runs. */
struct route_lookup;
typedef void route_found_fn(void *arg, enum status status, struct record *record);
MUST_CHECK struct route_lookup *route_lookup_start(struct route_resolver *resolver,
                                                   enum record_kind kind, struct slice id,
                                                   route_found_fn *on_found, void *arg);
void route_lookup_cancel(
    struct route_lookup **lookup); /* sets *lookup to NULL; may already be NULL */

/* Lookups that wait are cancelled before the resolver is destroyed; watches that stand then are
 * told nothing any more.
 *
 * Tells of every later change of one record for as long as the watch stands: on a change the record
 * is read again at once and `on_change` gets the outcome as in route_found_fn (the record is
 * borrowed here, not the receiver's). ROUTE_UNAVAILABLE is never told: an outage changes nothing.
 * When the resolver does not know the record at the start of the watch, it is read and told in any
 * case. Not called when the new record equals the old one byte for byte. Embedded in its owner.
 * on_change may remove any watch. */
struct record_watch;
typedef void record_change_fn(struct record_watch *watch, enum status status,
                              const struct record *record);
struct record_watch {
    struct list link;
    record_change_fn *on_change;
    void *entry; /* the resolver's */
};
void record_watch_init(struct record_watch *watch, record_change_fn *on_change);
void record_watch_start(struct route_resolver *resolver, struct record_watch *watch,
                        enum record_kind kind, struct slice id);
void record_watch_stop(struct record_watch *watch); /* harmless when it does not stand */

/* Appends one JSON object per record that is remembered, separated by commas, at most `limit`; returns
 * how many. Agents' tokens are left out. */
size_t route_resolver_list(const struct route_resolver *resolver, size_t limit, struct buf *into);

const struct route_resolver_counters *
route_resolver_counters(const struct route_resolver *resolver);
/* Borrowed: for what is no look-up. */
struct route_store *route_resolver_store(const struct route_resolver *resolver);
bool route_resolver_link_is_up(const struct route_resolver *resolver);
