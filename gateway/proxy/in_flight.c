/* proxy/in_flight.c — see in_flight.h. */
#include "proxy/in_flight.h"

#include "base/mem.h"

struct in_flight_entry {
    struct map_entry entry;
    size_t count;
    char id[];
};

void in_flight_deinit(struct in_flight *table)
{
    ENSURE(table->map.count == 0);
    map_deinit(&table->map);
}

static struct in_flight_entry *entry_create(struct in_flight *table, struct slice id)
{
    struct in_flight_entry *entry = mem_alloc(sizeof(*entry) + id.len);

    *entry = (struct in_flight_entry){ 0 };
    memcpy(entry->id, id.ptr, id.len);
    entry->entry.key = slice_of(entry->id, id.len);
    map_insert(&table->map, &entry->entry);
    return entry;
}

struct in_flight_entry *in_flight_enter(struct in_flight *table, struct slice id, size_t limit)
{
    struct map_entry *found = map_find(&table->map, id);
    struct in_flight_entry *entry;

    if (found == NULL && limit == 0)
        return NULL;
    entry = found != NULL ? CONTAINER_OF(found, struct in_flight_entry, entry)
                          : entry_create(table, id);
    if (entry->count >= limit)
        return NULL;
    entry->count++;
    return entry;
}

void in_flight_leave(struct in_flight *table, struct in_flight_entry **entry)
{
    struct in_flight_entry *left = *entry;

    *entry = NULL;
    if (left == NULL)
        return;
    ENSURE(left->count > 0);
    if (--left->count > 0)
        return;
    map_remove(&table->map, &left->entry);
    mem_free(left);
}

size_t in_flight_count(const struct in_flight *table, struct slice id)
{
    struct map_entry *found = map_find(&table->map, id);

    return found != NULL ? CONTAINER_OF(found, struct in_flight_entry, entry)->count : 0;
}
