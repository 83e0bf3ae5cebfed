/* auth/token_claims.h — the two JSON objects of a token, checked against what we expect; private to
 * auth/. Both functions see bytes that a stranger wrote: the header before its signature is
 * checked. */
#pragma once

#include "auth/token.h"
#include "auth/token_cache.h"
#include "base/arena.h"

struct token_header {
    struct slice key_id;
    struct slice algorithm; /* one of the nine, exactly */
};

/* The slices are copied into `arena`. Errors: TOKEN_MALFORMED (over 1 KiB, not a JSON object, a
 * member twice, a NUL, a member that would name or carry a key), TOKEN_ALGORITHM, TOKEN_KEY_UNKNOWN
 * (no kid, or one that no key can have). */
MUST_CHECK enum status token_header_parse(struct slice json, struct arena *arena,
                                          struct token_header *out_header);

struct token_expectation {
    struct slice issuer;
    struct slice audience;
    enum token_use use;
};

/* Everything but the time. OK: out_verdict->principal is the caller's reference. */
MUST_CHECK enum status token_claims_parse(struct slice json,
                                          const struct token_expectation *expected,
                                          struct token_verdict *out_verdict);

/* [A-Za-z0-9._:-]{1,128}: session and computer ids become Redis keys and header values. */
bool token_id_is_valid(struct slice id);
bool token_user_is_valid(
    struct slice user); /* up to 256 printable ASCII bytes, no blank at the ends */
bool token_port_is_valid(struct slice port); /* 1 to 65535, or a DNS label */
