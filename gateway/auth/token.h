/* auth/token.h — checks connect tokens and access-session tokens (JWT, RFC 7519, JWS compact RFC 7515) and remembers the
 * verdict "good" by the SHA-256 of the text. One per worker; used only on its thread. */
#pragma once

#include "auth/key_store.h"
#include "auth/principal.h"
#include "base/clock.h"
#include "base/counter.h"

struct token_verifier;

enum token_use {
    TOKEN_USE_EXEC,
    TOKEN_USE_ACCESS
}; /* decides the audience and the kinds: exec | browser, vnc */

struct token_options {
    const char *issuer;          /* "" is not allowed */
    const char *exec_audience;   /* "exec" */
    const char *access_audience; /* "access" */
    uint64_t leeway_ms;          /* 30 s, for exp, nbf and iat */
    size_t token_bytes;          /* 8 KiB: TOKEN_TOO_LONG */
    size_t cache_entries;        /* 65536; the least recently used leaves first */
};

struct token_counters {
    struct counter cache_hits, verified;
    struct counter refused[STATUS_COUNT]; /* by outcome */
};

/* Copies `options`; takes a reference of `keys`; borrows `clock`. */
struct token_verifier *token_verifier_create(const struct token_options *options,
                                             struct key_store *keys, const struct clock *clock);
void token_verifier_destroy(struct token_verifier **verifier);

/* Forgets every verdict (reload). */
void token_verifier_set_keys(struct token_verifier *verifier, struct key_store *keys);

/* OK: *out_principal is the caller's reference. `exp` (required), `nbf` and `iat` are checked against the wall clock on
 * every call, cached or not. Errors: TOKEN_* rows of the status table, never anything else.
 * Computer, port and capability are for the caller to compare. */
MUST_CHECK enum status token_verify(struct token_verifier *verifier, struct slice token,
                                    enum token_use use, struct principal **out_principal);

const struct token_counters *token_verifier_counters(const struct token_verifier *verifier);
