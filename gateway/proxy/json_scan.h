/* proxy/json_scan.h — finds one member in a JSON object (RFC 8259) without building a tree: for the
 * two or three members that the plain-JSON form looks at. Strict about what it walks over; pure
 * functions. */
#pragma once

#include "base/buf.h"

/* The raw text of the first top-level member `key` (quotes of a string included, blanks around it
 * not). False: absent, or the text is no object, or is malformed up to the member. Keys with
 * escapes are never equal to `key`. */
bool json_scan_member(struct slice object, struct slice key, struct slice *out_raw);

/* Appends the text of a raw string; false (and `into` as it was) when it is no well-formed string.
 */
bool json_scan_text(struct slice raw, struct buf *into);
