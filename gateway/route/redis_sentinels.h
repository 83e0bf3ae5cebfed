/* route/redis_sentinels.h — asks Redis Sentinels which Redis is the master, and goes on asking: one
 * link to each sentinel, asked anew every second and whenever it announces a switch. Where they
 * differ, the highest configuration epoch is right: it is how they settle it among themselves. When
 * none answers, the last master that was known stays. Part of route/. */
#pragma once

#include "route/redis_link.h"

struct redis_sentinels;

/* Another master than before, or the first one. May destroy the sentinels. */
typedef void redis_master_fn(void *owner);

/* Returns owned; `on_master` follows on a later turn. Borrows `options` (the store's copy), whose
 * endpoint has sentinels; adds to the counter of master changes alone. */
struct redis_sentinels *redis_sentinels_create(struct loop *loop,
                                               const struct route_store_redis_options *options,
                                               redis_master_fn *on_master, void *owner,
                                               struct route_store_redis_counters *counters);
void redis_sentinels_destroy(
    struct redis_sentinels **sentinels); /* sets *sentinels to NULL; may already be NULL */

/* NULL: not known yet. Borrowed; what the one before pointed at lives until on_master returns. */
const struct redis_endpoint *redis_sentinels_master(const struct redis_sentinels *sentinels);
