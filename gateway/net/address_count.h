/* net/address_count.h — how many connections each client address has open in the whole process. The
 * workers share it (the kernel spreads one client's connections over them), so it is one of the two
 * things here that lock: once when a connection comes and once when it goes, never per request.
 *
 * An IPv6 client is its /64: whoever has one address there has them all. Unix sockets have no
 * address and are not counted. */
#pragma once

#include "net/address.h"

struct address_count;

struct address_count *address_count_create(size_t limit); /* returns owned */
/* Every address must have left. Sets *counts to NULL; may already be NULL. */
void address_count_destroy(struct address_count **counts);

/* For connections from now on; any thread. */
void address_count_set_limit(struct address_count *counts, size_t limit);

/* One more from `peer`; false, and not counted, when it has as many as it may. Any thread. */
MUST_CHECK bool address_count_enter(struct address_count *counts, const struct address *peer);
void address_count_leave(struct address_count *counts, const struct address *peer);
