/* proxy/port_page.h — what a person reads when a published port cannot be shown: what happened, whose
 * it is to mend, what to do. Self-contained, light and dark, no script, nothing of the request but
 * its host. */
#pragma once

#include "proxy/port_request.h"
#include "proxy/reply.h"

void port_page_append(struct buf *into, const struct reply *reply, unsigned http);

/* "auth_required", "machine_unauthorized": words that clients of published ports look for; NULL where
 * neither is true. */
const char *port_error_word(enum status status);

/* The same for the status's own words, which speak of agents and connect tokens; NULL: they fit. */
const char *port_words(enum status status);
