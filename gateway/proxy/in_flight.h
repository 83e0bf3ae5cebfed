/* proxy/in_flight.h — how many requests each session and each computer has open at this worker. An
 * id that has none takes no memory. */
#pragma once

#include "base/ensure.h"
#include "base/map.h"

struct in_flight {
    struct map map;
};

struct in_flight_entry;

void in_flight_deinit(struct in_flight *table); /* every entry must have left */

/* Counts one more request of `id`; NULL (and nothing counted) when it has `limit` already. Copies
 * the id. */
struct in_flight_entry *in_flight_enter(struct in_flight *table, struct slice id, size_t limit);

/* Sets *entry to NULL; may already be NULL. */
void in_flight_leave(struct in_flight *table, struct in_flight_entry **entry);
size_t in_flight_count(const struct in_flight *table, struct slice id);
