/* cli/admin_client.h — one request to the admin listener of a running gateway, as its configuration
 * says where that is. Blocks, five seconds at most. */
#pragma once

#include "config/config.h"

/* OK: *out_http and the body appended to `out_body`. Errors: SYSTEM, MALFORMED, with the words on
 * standard error. */
MUST_CHECK enum status admin_client_call(const struct config *config, const char *method,
                                         const char *path, unsigned *out_http,
                                         struct buf *out_body);
