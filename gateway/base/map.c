/* base/map.c — see map.h. Chained buckets; while a table grows, both tables are searched. */
#include "base/map.h"

#include <pthread.h>
#include <sys/random.h>

#include "base/ensure.h"
#include "base/mem.h"

enum { MAP_FIRST_BUCKETS = 64, MAP_MOVES_PER_INSERT = 4 };

/* Written once before any worker starts or by pthread_once, read-only afterwards. */
static uint64_t hash_key[2];
static pthread_once_t hash_key_once = PTHREAD_ONCE_INIT;

static void make_hash_key(void)
{
    ENSURE(getrandom(hash_key, sizeof(hash_key), 0) == (ssize_t)sizeof(hash_key));
}

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline __attribute__((always_inline)) void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

uint64_t map_hash(struct slice bytes)
{
    pthread_once(&hash_key_once, make_hash_key);
    uint64_t v[4] = { hash_key[0] ^ 0x736f6d6570736575u, hash_key[1] ^ 0x646f72616e646f6du,
                      hash_key[0] ^ 0x6c7967656e657261u, hash_key[1] ^ 0x7465646279746573u };
    uint64_t last = (uint64_t)bytes.len << 56;
    const char *at = bytes.ptr;
    size_t left = bytes.len;

    for (; left >= 8; left -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < left; i++)
        last |= (uint64_t)(unsigned char)at[i] << (8 * i);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_deinit(struct map *map)
{
    mem_free(map->buckets);
    mem_free(map->old_buckets);
    *map = (struct map){ 0 };
}

static struct map_entry **find_in(struct map_entry **bucket, uint64_t hash, struct slice key)
{
    while (*bucket != NULL && !((*bucket)->hash == hash && slice_equal((*bucket)->key, key)))
        bucket = &(*bucket)->next;
    return bucket;
}

struct map_entry *map_find(const struct map *map, struct slice key)
{
    uint64_t hash = map_hash(key);
    struct map_entry *found = NULL;

    if (map->bucket_count > 0)
        found = *find_in(&map->buckets[hash & (map->bucket_count - 1)], hash, key);
    if (found == NULL && map->old_buckets != NULL)
        found = *find_in(&map->old_buckets[hash & (map->old_bucket_count - 1)], hash, key);
    return found;
}

static void put(struct map *map, struct map_entry *entry)
{
    struct map_entry **bucket = &map->buckets[entry->hash & (map->bucket_count - 1)];

    entry->next = *bucket;
    *bucket = entry;
}

static void move_some(struct map *map, size_t bucket_count)
{
    while (map->old_buckets != NULL && bucket_count-- > 0) {
        struct map_entry *entry = map->old_buckets[map->moved_count];
        map->old_buckets[map->moved_count] = NULL;
        while (entry != NULL) {
            struct map_entry *next = entry->next;
            put(map, entry);
            entry = next;
        }
        if (++map->moved_count == map->old_bucket_count) {
            mem_free(map->old_buckets);
            map->old_buckets = NULL;
        }
    }
}

static void grow(struct map *map)
{
    move_some(map, map->old_bucket_count); /* never two old tables */
    map->old_buckets = map->buckets;
    map->old_bucket_count = map->bucket_count;
    map->moved_count = 0;
    map->bucket_count = map->bucket_count > 0 ? map->bucket_count * 2 : MAP_FIRST_BUCKETS;
    map->buckets = mem_zeroed(map->bucket_count * sizeof(struct map_entry *));
}

void map_insert(struct map *map, struct map_entry *entry)
{
    if (map->count >= map->bucket_count)
        grow(map);
    move_some(map, MAP_MOVES_PER_INSERT);
    entry->hash = map_hash(entry->key);
    put(map, entry);
    map->count++;
}

void map_remove(struct map *map, struct map_entry *entry)
{
    struct map_entry **at = &map->buckets[entry->hash & (map->bucket_count - 1)];

    while (*at != NULL && *at != entry)
        at = &(*at)->next;
    if (*at == NULL && map->old_buckets != NULL) {
        at = &map->old_buckets[entry->hash & (map->old_bucket_count - 1)];
        while (*at != NULL && *at != entry)
            at = &(*at)->next;
    }
    ENSURE(*at == entry);
    *at = entry->next;
    map->count--;
}

void map_each(struct map *map, void (*visit)(struct map_entry *entry, void *arg), void *arg)
{
    move_some(map, map->old_bucket_count);
    for (size_t i = 0; i < map->bucket_count; i++) {
        struct map_entry *entry = map->buckets[i];
        while (entry != NULL) {
            struct map_entry *next = entry->next;
            visit(entry, arg);
            entry = next;
        }
    }
}

static bool look_in(struct map_entry *const *buckets, size_t count,
                    bool (*visit)(const struct map_entry *entry, void *arg), void *arg)
{
    for (size_t i = 0; i < count; i++) {
        for (const struct map_entry *entry = buckets[i]; entry != NULL; entry = entry->next)
            if (!visit(entry, arg))
                return false;
    }
    return true;
}

void map_look(const struct map *map, bool (*visit)(const struct map_entry *entry, void *arg),
              void *arg)
{
    if (look_in(map->buckets, map->bucket_count, visit, arg))
        (void)look_in(map->old_buckets, map->old_bucket_count, visit, arg);
}
