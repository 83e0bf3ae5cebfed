/* net/name_lookup.h — host names to addresses, off the loop (a few helper threads). Only names from configuration
 * and from the registry come here, never a client's. */
#pragma once

#include "net/address.h"
#include "net/loop.h"

struct name_lookup;
typedef void name_found_fn(void *arg, enum status status, const struct address *address);

/* Exactly one of these follows: `on_found` runs once, on a later turn (OK with one address, IPv4 before IPv6, or
 * AGENT_UNREACHABLE); or name_lookup_cancel() is called and it never runs. `host` may be a numeric address. */
MUST_CHECK struct name_lookup *name_lookup_start(struct loop *loop, struct slice host,
                                                 uint16_t port, name_found_fn *on_found, void *arg);
void name_lookup_cancel(
    struct name_lookup **lookup); /* sets *lookup to NULL; may already be NULL */
