/* fake_store.h — a registry that the test writes: answers reads on the next turn, tells changes at
 * once. */
#pragma once

#include "route/route_store.h"

struct fake_store;

struct fake_store *fake_store_create(struct loop *loop);
struct route_store *fake_store_base(struct fake_store *store);

/* `fields`: "name=value;name=value"; NULL: deletes. Copies. */
void fake_store_set(struct fake_store *store, enum record_kind kind, const char *id,
                    const char *fields);
/* Changes are being pushed from now on; the resolver must exist. */
void fake_store_link_up(struct fake_store *store);

/* Reads are answered with ROUTE_UNAVAILABLE. */
void fake_store_fail(struct fake_store *store, bool fails);
size_t fake_store_read_count(const struct fake_store *store);
