/* route/route_store_file.h — the embedded registry: the same records as YAML in one file, watched
 * for change (inotify), or records that the process itself puts in (the command `dev`).
 *
 *     computers: { cmp_1: { state: running, agent: "127.0.0.1:49983" } }
 *     hosts:     { "3000--box.computer.example.com": { computer: cmp_1, port: 3000, visibility:
 * public } } sessions:  { ses_1: { kind: exec, computer: cmp_1 } }
 *
 * Strict: unknown keys and fields, repeated ids and values that are not understood are errors. Host
 * names are lower case.
 */
#pragma once

#include "base/buf.h"
#include "route/route_store.h"

/* Records by kind and id; read only once it is shared, reference counted across threads. */
struct route_table;

struct route_table *route_table_create(void); /* returns owned, empty */

/* Takes the record; one of the same kind and id is replaced. Only before the table is shared. */
void route_table_put(struct route_table *table, struct record *record);

/* Borrowed from the table: copy it (record_copy) to keep it, since records count references without
 * locks. */
const struct record *route_table_find(const struct route_table *table, enum record_kind kind,
                                      struct slice id);

/* `out_error` (optional) gets "file:line:column: what was expected". Errors: CONFIG_INVALID. */
MUST_CHECK enum status route_table_load(const char *file, struct buf *out_error,
                                        struct route_table **out_table);
struct route_table *route_table_ref(struct route_table *table);
void route_table_unref(struct route_table **table);

/* What a table says, for ever. Takes a reference. */
struct route_store *route_store_table_create(struct loop *loop, struct route_table *table);

/* Copies `file`; loads it again when it changes (written in place, or replaced by rename); a bad
 * file keeps the old table and is logged. Errors: CONFIG_INVALID. */
MUST_CHECK enum status route_store_file_create(struct loop *loop, const char *file,
                                               struct buf *out_error,
                                               struct route_store **out_store);
