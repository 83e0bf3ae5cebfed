/* route/route_cache.c — see route_cache.h. An entry that is not pinned rests in one of two lists,
 * in the order of use; evicting takes the head of one of them. */
#include "route/route_cache.h"

#include "base/mem.h"

/* "No such record" may fill this share of the cache before it is what leaves first. */
enum { MISSING_SHARE = 8 };

void route_cache_init(struct route_cache *cache, size_t max_entries)
{
    *cache = (struct route_cache){ .max_entries = max_entries };
    list_init(&cache->found);
    list_init(&cache->missing);
}

static void rest(struct route_entry *entry)
{
    struct route_cache *cache = entry->cache;

    ENSURE(!list_is_linked(&entry->by_use));
    if (entry->status == STATUS_OK) {
        list_append(&cache->found, &entry->by_use);
    } else {
        list_append(&cache->missing, &entry->by_use);
        cache->missing_count++;
    }
}

static void wake(struct route_entry *entry)
{
    if (!list_is_linked(&entry->by_use))
        return;
    list_unlink(&entry->by_use);
    if (entry->status != STATUS_OK)
        entry->cache->missing_count--;
}

static void entry_destroy(struct route_entry *entry)
{
    struct route_cache *cache = entry->cache;

    ENSURE(entry->pin_count == 0 && entry->work == NULL);
    wake(entry);
    map_remove(&cache->entries[entry->kind], &entry->by_id);
    cache->count--;
    record_unref(&entry->record);
    mem_free(entry);
}

static void evict(struct route_cache *cache)
{
    while (cache->count > cache->max_entries) {
        bool has_missing = cache->missing_count > 0;
        bool missing_first = cache->missing_count >= cache->max_entries / MISSING_SHARE;
        struct list *from = has_missing && missing_first ? &cache->missing : &cache->found;

        if (list_is_empty(from))
            from = &cache->missing;
        if (list_is_empty(from))
            return; /* all the rest is pinned, and bounded by what pins it */
        entry_destroy(LIST_FIRST(from, struct route_entry, by_use));
    }
}

void route_cache_deinit(struct route_cache *cache)
{
    cache->max_entries = 0;
    evict(cache);
    ENSURE(cache->count == 0);
    for (unsigned kind = 0; kind < RECORD_KIND_COUNT; kind++)
        map_deinit(&cache->entries[kind]);
}

struct route_entry *route_cache_find(const struct route_cache *cache, enum record_kind kind,
                                     struct slice id)
{
    struct map_entry *found = map_find(&cache->entries[kind], id);

    return found != NULL ? CONTAINER_OF(found, struct route_entry, by_id) : NULL;
}

struct route_entry *route_cache_pin(struct route_cache *cache, enum record_kind kind,
                                    struct slice id)
{
    struct route_entry *entry = route_cache_find(cache, kind, id);

    if (entry == NULL) {
        entry = mem_zeroed(sizeof(*entry) + id.len);
        memcpy(entry + 1, id.ptr, id.len);
        entry->id = slice_of(entry + 1, id.len);
        entry->kind = kind;
        entry->cache = cache;
        entry->status = STATUS_AGAIN;
        entry->by_id.key = entry->id;
        list_init(&entry->by_use);
        map_insert(&cache->entries[kind], &entry->by_id);
        cache->count++;
    }
    route_entry_pin(entry);
    evict(cache);
    return entry;
}

void route_entry_pin(struct route_entry *entry)
{
    wake(entry);
    entry->pin_count++;
}

void route_entry_unpin(struct route_entry *entry)
{
    ENSURE(entry->pin_count > 0);
    if (--entry->pin_count > 0)
        return;
    if (entry->status == STATUS_AGAIN) {
        entry_destroy(entry);
        return;
    }
    rest(entry);
    evict(entry->cache);
}

void route_entry_set(struct route_entry *entry, enum status status, struct record *record)
{
    ENSURE(entry->pin_count > 0);
    record_unref(&entry->record);
    entry->status = status;
    entry->record = record;
}

void route_entry_forget(struct route_entry *entry)
{
    route_entry_pin(entry);
    route_entry_set(entry, STATUS_AGAIN, NULL);
    route_entry_unpin(entry);
}

void route_entry_touch(struct route_entry *entry, uint64_t now_ms)
{
    entry->used_ms = now_ms;
    if (list_is_linked(&entry->by_use)) {
        wake(entry);
        rest(entry);
    }
}
