/* auth/token_cache.c — see token_cache.h. */
#include "auth/token_cache.h"

#include "base/mem.h"

struct token_entry {
    struct map_entry in_entries;
    struct list in_by_use;
    struct token_verdict verdict;
    char key[TOKEN_CACHE_KEY_BYTES];
};

void token_cache_init(struct token_cache *cache, size_t entry_count_limit)
{
    *cache = (struct token_cache){ .entry_count_limit = entry_count_limit };
    list_init(&cache->by_use);
}

static void forget(struct token_cache *cache, struct token_entry *entry)
{
    map_remove(&cache->entries, &entry->in_entries);
    list_unlink(&entry->in_by_use);
    principal_unref(&entry->verdict.principal);
    mem_free(entry);
}

void token_cache_clear(struct token_cache *cache)
{
    while (!list_is_empty(&cache->by_use))
        forget(cache, LIST_FIRST(&cache->by_use, struct token_entry, in_by_use));
}

void token_cache_deinit(struct token_cache *cache)
{
    token_cache_clear(cache);
    map_deinit(&cache->entries);
}

static struct token_entry *find(struct token_cache *cache, struct slice key)
{
    struct map_entry *found = map_find(&cache->entries, key);

    return found != NULL ? CONTAINER_OF(found, struct token_entry, in_entries) : NULL;
}

const struct token_verdict *token_cache_find(struct token_cache *cache, struct slice key)
{
    struct token_entry *entry = find(cache, key);

    if (entry == NULL)
        return NULL;
    list_unlink(&entry->in_by_use);
    list_append(&cache->by_use, &entry->in_by_use);
    return &entry->verdict;
}

void token_cache_put(struct token_cache *cache, struct slice key,
                     const struct token_verdict *verdict)
{
    ENSURE(key.len == TOKEN_CACHE_KEY_BYTES);
    if (cache->entry_count_limit == 0)
        return;
    if (cache->entries.count >= cache->entry_count_limit)
        forget(cache, LIST_FIRST(&cache->by_use, struct token_entry, in_by_use));

    struct token_entry *entry = mem_zeroed(sizeof(*entry));
    memcpy(entry->key, key.ptr, key.len);
    entry->in_entries.key = slice_of(entry->key, sizeof(entry->key));
    entry->verdict = *verdict;
    principal_ref(verdict->principal);
    map_insert(&cache->entries, &entry->in_entries);
    list_append(&cache->by_use, &entry->in_by_use);
}

void token_cache_remove(struct token_cache *cache, struct slice key)
{
    struct token_entry *entry = find(cache, key);

    if (entry != NULL)
        forget(cache, entry);
}
