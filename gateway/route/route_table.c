/* route/route_table.c — records in memory, and the store that answers from them. Answers still come
 * on a later turn, as from every store. */
#include "route/route_table.h"

#include <stdatomic.h>

#include "base/mem.h"

struct route_table {
    _Atomic size_t ref_count;
    struct map rows[RECORD_KIND_COUNT];
};

struct route_read {
    struct list link;
    route_read_fn *on_read;
    void *arg;
    enum status status;
    struct record *record;
};

struct route_table *route_table_create(void)
{
    struct route_table *table = mem_zeroed(sizeof(*table));

    atomic_init(&table->ref_count, 1);
    return table;
}

struct route_table *route_table_ref(struct route_table *table)
{
    atomic_fetch_add(&table->ref_count, 1);
    return table;
}

static void free_row(struct map_entry *entry, void *arg)
{
    struct route_row *row = CONTAINER_OF(entry, struct route_row, by_id);

    (void)arg;
    record_unref(&row->record);
    mem_free(row);
}

void route_table_unref(struct route_table **table)
{
    struct route_table *t = *table;

    if (t == NULL)
        return;
    *table = NULL;
    if (atomic_fetch_sub(&t->ref_count, 1) > 1)
        return;
    for (unsigned kind = 0; kind < RECORD_KIND_COUNT; kind++) {
        map_each(&t->rows[kind], free_row, NULL);
        map_deinit(&t->rows[kind]);
    }
    mem_free(t);
}

void route_table_put(struct route_table *table, struct record *record)
{
    struct map *rows = &table->rows[record->kind];
    struct map_entry *old = map_find(rows, record->id);
    struct route_row *row = mem_zeroed(sizeof(*row));

    if (old != NULL) {
        map_remove(rows, old);
        free_row(old, NULL);
    }
    row->record = record;
    row->by_id.key = record->id;
    map_insert(rows, &row->by_id);
}

const struct record *route_table_find(const struct route_table *table, enum record_kind kind,
                                      struct slice id)
{
    struct map_entry *found = map_find(&table->rows[kind], id);

    return found != NULL ? CONTAINER_OF(found, struct route_row, by_id)->record : NULL;
}

struct comparison {
    const struct route_table *with;
    bool only_missing; /* the pairs were compared the other way round */
    route_row_changed_fn *changed;
    void *arg;
};

static void compare_row(struct map_entry *entry, void *arg)
{
    const struct comparison *comparison = arg;
    const struct record *record = CONTAINER_OF(entry, struct route_row, by_id)->record;
    const struct record *other = route_table_find(comparison->with, record->kind, record->id);

    if (other == NULL || (!comparison->only_missing && !record_equal(record, other)))
        comparison->changed(comparison->arg, record);
}

void route_table_compare(struct route_table *old_table, struct route_table *new_table,
                         route_row_changed_fn *changed, void *arg)
{
    struct comparison forth = { new_table, false, changed, arg };
    struct comparison back = { old_table, true, changed, arg };

    for (unsigned kind = 0; kind < RECORD_KIND_COUNT; kind++) {
        map_each(&old_table->rows[kind], compare_row, &forth);
        map_each(&new_table->rows[kind], compare_row, &back);
    }
}

/* ---- the store ---- */

static void report(struct task *task)
{
    struct route_store_table *store = CONTAINER_OF(task, struct route_store_table, report);
    struct list reads;

    if (!store->told_link && store->store.events != NULL) {
        store->told_link = true;
        store->store.events->on_link(store->store.owner, true);
    }
    list_init(&reads);
    list_move_all(&reads, &store->reads);
    while (!list_is_empty(&reads)) {
        struct route_read *read = LIST_FIRST(&reads, struct route_read, link);
        struct route_read ready = *read;

        list_unlink(&read->link);
        mem_free(read);
        ready.on_read(ready.arg, ready.status, ready.record);
    }
}

/* Read at once, told later: a change in between is told before the answer, as from Redis. */
struct route_read *route_store_table_read(struct route_store *store, enum record_kind kind,
                                          struct slice id, route_read_fn *on_read, void *arg)
{
    struct route_store_table *s = CONTAINER_OF(store, struct route_store_table, store);
    struct route_read *read = mem_zeroed(sizeof(*read));
    const struct record *found = route_table_find(s->table, kind, id);

    read->on_read = on_read;
    read->arg = arg;
    read->status = found != NULL ? STATUS_OK : record_missing_status(kind);
    read->record = found != NULL ? record_copy(found) : NULL;
    list_append(&s->reads, &read->link);
    task_defer_next(s->loop, &s->report);
    return read;
}

void route_store_table_cancel(struct route_store *store, struct route_read *read)
{
    (void)store;
    list_unlink(&read->link);
    record_unref(&read->record);
    mem_free(read);
}

static void destroy_table_store(struct route_store *store)
{
    struct route_store_table *s = CONTAINER_OF(store, struct route_store_table, store);

    route_store_table_deinit(s);
    mem_free(s);
}

static const struct route_store_ops table_ops = {
    .read = route_store_table_read,
    .cancel = route_store_table_cancel,
    .destroy = destroy_table_store,
};

void route_store_table_init(struct route_store_table *store, const struct route_store_ops *ops,
                            struct loop *loop, struct route_table *table)
{
    store->store.ops = ops;
    store->loop = loop;
    store->table = route_table_ref(table);
    list_init(&store->reads);
    task_init(&store->report, report);
    task_defer(loop, &store->report); /* the link is up from the first turn on */
}

void route_store_table_deinit(struct route_store_table *store)
{
    task_cancel(&store->report);
    while (!list_is_empty(&store->reads))
        route_store_table_cancel(&store->store, LIST_FIRST(&store->reads, struct route_read, link));
    route_table_unref(&store->table);
}

struct route_store *route_store_table_create(struct loop *loop, struct route_table *table)
{
    struct route_store_table *store = mem_zeroed(sizeof(*store));

    route_store_table_init(store, &table_ops, loop, table);
    return &store->store;
}

static void tell_changed(void *arg, const struct record *record)
{
    struct route_store_table *store = arg;

    if (store->store.events != NULL)
        store->store.events->on_changed(store->store.owner, record->kind, record->id);
}

void route_store_table_replace(struct route_store_table *store, struct route_table *table)
{
    struct route_table *old = store->table;

    store->table = table;
    route_table_compare(old, table, tell_changed, store);
    route_table_unref(&old);
}
