/* route/route_store_file.h — the embedded registry: the same records as YAML in one file, watched for change (inotify), or
 * records that the process itself puts in (the command `dev`).
 *
 *     computers: { cmp_1: { state: running, agent: "127.0.0.1:49983" } }
 *     hosts:     { "3000--box.computer.example.com": { computer: cmp_1, port: 3000, visibility: public } }
 *     sessions:  { ses_1: { kind: exec, computer: cmp_1 } }
 */
#pragma once

#include "route/route_store.h"

/* Immutable parsed file, reference counted across threads. */
struct route_table;

/* `out_error` (optional) gets "file:line:column: what was expected". Errors: CONFIG_INVALID. */
MUST_CHECK enum status route_table_load(const char *file, struct buf *out_error,
                                        struct route_table **out_table);
struct route_table *route_table_ref(struct route_table *table);
void route_table_unref(struct route_table **table);

/* Copies `file`; loads it again when it changes (written in place, or replaced by rename); a bad file keeps the old table
 * and is logged. Errors: CONFIG_INVALID. */
MUST_CHECK enum status route_store_file_create(struct loop *loop, const char *file,
                                               struct buf *out_error,
                                               struct route_store **out_store);
