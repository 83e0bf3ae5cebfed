/* agent/gzip.h — inflates one whole message, up to a bound: a small request must not become a large
 * one. */
#pragma once

#include "base/buf.h"
#include "base/status.h"

/* Appends to `into` (on errors too, then it is of no use). Errors: MALFORMED (no gzip, cut short,
 * bytes after its end), BODY_TOO_LARGE (more than `limit_bytes`). */
MUST_CHECK enum status gzip_inflate(struct slice bytes, size_t limit_bytes, struct buf *into);
