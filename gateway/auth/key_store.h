/* auth/key_store.h — the control plane's keys, each with the one algorithm that it may be used with (RFC 8725 §3.1).
 * Immutable after creation and reference counted across threads: a reload makes a new one. */
#pragma once

#include "base/buf.h"
#include "base/status.h"

struct key_store;

enum token_algorithm { /* RFC 7518 §3.1 */
                       TOKEN_HS256,
                       TOKEN_HS384,
                       TOKEN_HS512,
                       TOKEN_RS256,
                       TOKEN_RS384,
                       TOKEN_RS512,
                       TOKEN_ES256,
                       TOKEN_ES384,
                       TOKEN_ES512,
                       TOKEN_ALGORITHM_COUNT
};

struct key_options {
    const char *kid; /* [A-Za-z0-9_-]{1,64} */
    enum token_algorithm algorithm;
    const char
        *file; /* HS*: the raw secret (one trailing newline is cut), at least the hash's length;
                                     * RS*, ES*: PEM public key, private key or certificate */
};

/* Exact, case-sensitive ("ES256"). */
bool token_algorithm_from_text(struct slice text, enum token_algorithm *out_algorithm);
const char *token_algorithm_text(enum token_algorithm algorithm);

/* Checks key type, curve, and size (RSA ≥ 2048). At least one key is required. `out_error` (optional) says what is wrong,
 * naming the kid and the file. Errors: CONFIG_INVALID. */
MUST_CHECK enum status key_store_create(const struct key_options *keys, size_t key_count,
                                        struct buf *out_error, struct key_store **out_store);
struct key_store *key_store_ref(struct key_store *store);
void key_store_unref(struct key_store **store); /* sets *store to NULL; may already be NULL */

/* Checks `signature` over `signed_bytes` with the key `kid`. Errors: TOKEN_KEY_UNKNOWN, TOKEN_ALGORITHM (the header's
 * `algorithm` is not exactly the key's), TOKEN_SIGNATURE (an ECDSA signature must have exactly the curve's length), OVERLOADED (OpenSSL
 * has no memory: nothing is known of the signature). */
MUST_CHECK enum status key_store_verify(const struct key_store *store, struct slice kid,
                                        struct slice algorithm, struct slice signed_bytes,
                                        struct slice signature);
