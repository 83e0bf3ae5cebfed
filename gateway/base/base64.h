/* base/base64.h — RFC 4648, strict: no blanks, no stray bits, no bytes after the end. */
#pragma once

#include "base/buf.h"

/* §5 without padding, as JWTs use it. Appends the decoded bytes; false (and nothing appended) when malformed. */
MUST_CHECK bool base64url_decode(struct slice text, struct buf *into);
void base64url_encode(struct slice bytes, struct buf *into);

/* §4; padding may be left out when decoding, as protobuf's JSON mapping allows, and the URL alphabet is taken too. */
MUST_CHECK bool base64_decode(struct slice text, struct buf *into);
void base64_encode(struct slice bytes, struct buf *into); /* with padding */
