/* route/route_cache.h — what a resolver remembers: one entry per record that it knows, misses,
 * reads or watches. Bounded: the least recently used answer leaves first, and "no such record"
 * before "found", so that a scan of made-up names cannot drive out the computers that are in use.
 * Part of route/; others use route_resolver.h. */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "route/record.h"

struct route_cache;

struct route_entry {
    struct map_entry by_id;
    struct list by_use; /* linked while nobody pins it */
    struct route_cache *cache;
    enum record_kind kind;
    struct slice id; /* behind the struct */
    unsigned pin_count;

    /* The answer. AGAIN: none. OK: `record`. Else: why there is none. */
    enum status status;
    struct record *record;
    uint64_t read_ms; /* when it was read */
    uint64_t used_ms; /* when it was last asked for */
    unsigned long
        epoch; /* the resolver's, when it was read: answers of another epoch are doubtful */

    void *work; /* the resolver's, while something is going on; NULL otherwise */
};

struct route_cache {
    struct map entries[RECORD_KIND_COUNT];
    struct list found; /* the least recently used first */
    struct list missing;
    size_t missing_count; /* of `missing` */
    size_t count;
    size_t max_entries;
};

void route_cache_init(struct route_cache *cache, size_t max_entries);
void route_cache_deinit(struct route_cache *cache); /* nothing may be pinned any more */

struct route_entry *route_cache_find(const struct route_cache *cache, enum record_kind kind,
                                     struct slice id);

/* Finds or makes the entry (without answer), and pins it. May evict others. */
struct route_entry *route_cache_pin(struct route_cache *cache, enum record_kind kind,
                                    struct slice id);

/* A pinned entry stays. Unpinned with no answer it goes at once. */
void route_entry_pin(struct route_entry *entry);
void route_entry_unpin(struct route_entry *entry);

/* Takes the reference. The entry must be pinned. */
void route_entry_set(struct route_entry *entry, enum status status, struct record *record);

/* Drops the answer; an entry that is not pinned goes with it. */
void route_entry_forget(struct route_entry *entry);

/* route_list.c: as route_resolver_list(). */
size_t route_cache_list(const struct route_cache *cache, uint64_t now_ms, unsigned long epoch,
                        size_t limit, struct buf *into);

/* It was asked for: it leaves last. */
void route_entry_touch(struct route_entry *entry, uint64_t now_ms);
