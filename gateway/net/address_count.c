/* net/address_count.c — see address_count.h. Shards keep workers out of each other's way. */
#include "net/address_count.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "base/mem.h"

enum { SHARDS = 64, KEY_BYTES = 8 };

struct counted {
    struct map_entry entry;
    size_t count;
    unsigned char key[KEY_BYTES + 1];
};

struct shard {
    pthread_mutex_t mutex;
    struct map map;
};

struct address_count {
    atomic_size_t limit;
    struct shard shards[SHARDS];
};

/* The first byte keeps the families apart. Returns the length; 0: not counted. */
static size_t key_of(const struct address *peer, unsigned char *key)
{
    const struct sockaddr_in *v4 = (const void *)&peer->storage;
    const struct sockaddr_in6 *v6 = (const void *)&peer->storage;

    if (peer->storage.ss_family == AF_INET) {
        key[0] = 4;
        memcpy(key + 1, &v4->sin_addr, 4);
        return 5;
    }
    if (peer->storage.ss_family == AF_INET6) {
        key[0] = 6;
        memcpy(key + 1, &v6->sin6_addr, KEY_BYTES);
        return KEY_BYTES + 1;
    }
    return 0;
}

struct address_count *address_count_create(size_t limit)
{
    struct address_count *counts = mem_zeroed(sizeof(*counts));

    atomic_init(&counts->limit, limit);
    for (size_t i = 0; i < SHARDS; i++)
        ENSURE(pthread_mutex_init(&counts->shards[i].mutex, NULL) == 0);
    return counts;
}

void address_count_destroy(struct address_count **counts)
{
    struct address_count *c = *counts;

    *counts = NULL;
    if (c == NULL)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        ENSURE(c->shards[i].map.count == 0);
        map_deinit(&c->shards[i].map);
        pthread_mutex_destroy(&c->shards[i].mutex);
    }
    mem_free(c);
}

void address_count_set_limit(struct address_count *counts, size_t limit)
{
    atomic_store(&counts->limit, limit);
}

static bool enter(struct shard *shard, struct slice key, size_t limit)
{
    struct map_entry *found = map_find(&shard->map, key);
    struct counted *counted;

    if (found == NULL) {
        counted = mem_zeroed(sizeof(*counted));
        memcpy(counted->key, key.ptr, key.len);
        counted->entry.key = slice_of(counted->key, key.len);
        map_insert(&shard->map, &counted->entry);
    } else {
        counted = CONTAINER_OF(found, struct counted, entry);
    }
    if (counted->count >= limit) /* a limit is at least 1: what was made just now is counted */
        return false;
    counted->count++;
    return true;
}

bool address_count_enter(struct address_count *counts, const struct address *peer)
{
    unsigned char bytes[KEY_BYTES + 1];
    struct slice key = slice_of(bytes, key_of(peer, bytes));
    struct shard *shard = &counts->shards[map_hash(key) % SHARDS];

    if (key.len == 0)
        return true;
    pthread_mutex_lock(&shard->mutex);
    bool entered = enter(shard, key, atomic_load(&counts->limit));
    pthread_mutex_unlock(&shard->mutex);
    return entered;
}

void address_count_leave(struct address_count *counts, const struct address *peer)
{
    unsigned char bytes[KEY_BYTES + 1];
    struct slice key = slice_of(bytes, key_of(peer, bytes));
    struct shard *shard = &counts->shards[map_hash(key) % SHARDS];

    if (key.len == 0)
        return;
    pthread_mutex_lock(&shard->mutex);
    struct map_entry *found = map_find(&shard->map, key);
    ENSURE(found != NULL);
    struct counted *counted = CONTAINER_OF(found, struct counted, entry);

    if (--counted->count == 0) {
        map_remove(&shard->map, &counted->entry);
        mem_free(counted);
    }
    pthread_mutex_unlock(&shard->mutex);
}
