/* base/map.h — hash map from byte strings to intrusive entries. The hash is keyed by a random seed per process, so that
 * a stranger who picks the keys cannot make them collide. Growth moves a few buckets per insertion, never all at once. */
#pragma once

#include "base/slice.h"

struct map_entry {
    struct map_entry *next;
    uint64_t hash;
    struct slice key; /* borrowed: the owner of the entry keeps the bytes */
};

struct map {
    struct map_entry **buckets;
    size_t bucket_count; /* a power of two, or 0 before the first insertion */
    struct map_entry **old_buckets;
    size_t old_bucket_count;
    size_t moved_count; /* old buckets that are moved already */
    size_t count;
};

/* A zeroed map is empty and ready. Frees the table, not the entries. */
void map_deinit(struct map *map);

struct map_entry *map_find(const struct map *map, struct slice key); /* NULL when absent */

/* The key must be absent; `entry->key` must be set. */
void map_insert(struct map *map, struct map_entry *entry);
void map_remove(struct map *map, struct map_entry *entry);

/* Calls `visit` for every entry; it may remove and free the entry that it is given, and no other. */
void map_each(struct map *map, void (*visit)(struct map_entry *entry, void *arg), void *arg);

/* The same without removing, until `visit` returns false. */
void map_look(const struct map *map, bool (*visit)(const struct map_entry *entry, void *arg),
              void *arg);

/* SipHash-1-3 of the bytes under the process's random key. */
uint64_t map_hash(struct slice bytes);
