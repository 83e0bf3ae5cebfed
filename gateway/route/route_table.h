/* route/route_table.h — the inside of a route_table. Part of route/; others use route_store_file.h.
 */
#pragma once

#include "base/map.h"
#include "route/route_store_file.h"

struct route_row {
    struct map_entry by_id;
    struct record *record;
};

/* Calls `changed` for every record that is in one of the two alone, or differs. */
typedef void route_row_changed_fn(void *arg, const struct record *record);
void route_table_compare(struct route_table *old_table, struct route_table *new_table,
                         route_row_changed_fn *changed, void *arg);

/* A store that answers from a table which may be replaced; the base of route_store_file. */
struct route_store_table {
    struct route_store store; /* first */
    struct loop *loop;
    struct route_table *table;
    struct list reads;
    struct task report;
    bool told_link;
};

struct route_read *route_store_table_read(struct route_store *store, enum record_kind kind,
                                          struct slice id, route_read_fn *on_read, void *arg);
void route_store_table_cancel(struct route_store *store, struct route_read *read);

/* Takes a reference to the table; `ops` are the two above and the kind's own end. */
void route_store_table_init(struct route_store_table *store, const struct route_store_ops *ops,
                            struct loop *loop, struct route_table *table);
void route_store_table_deinit(struct route_store_table *store);

/* Takes the new table and tells what changed. */
void route_store_table_replace(struct route_store_table *store, struct route_table *table);
