/* auth/key_material.h — what each algorithm asks of a key, and keys read from files; private to
 * auth/. */
#pragma once

#include <openssl/types.h>

#include "auth/key_store.h"

enum key_family { KEY_HMAC, KEY_RSA, KEY_EC };

struct key_algorithm {
    const char *name;
    const char *digest;
    enum key_family family;
    size_t digest_bytes;
    const char *curve;      /* EC: OpenSSL's name */
    size_t signature_bytes; /* EC: r and s, each as long as the curve's order */
};

const struct key_algorithm *key_algorithm_of(enum token_algorithm algorithm);

/* The three loaders append the reason to `out_error` (may be NULL), naming the kid and the file.
 * Errors: CONFIG_INVALID. */

/* HS*: the secret, without one trailing newline. The caller wipes it with key_bytes_wipe(). */
MUST_CHECK enum status key_secret_load(const struct key_options *key, struct buf *out_error,
                                       struct buf *out_secret);
/* RS*, ES*: from a PEM public key, private key or certificate. Returns owned; free with
 * EVP_PKEY_free. */
MUST_CHECK enum status key_public_load(const struct key_options *key, struct buf *out_error,
                                       EVP_PKEY **out_key);
/* RS*, ES*: the text of a PEM private key that was checked. The caller wipes it with
 * key_bytes_wipe(). */
MUST_CHECK enum status key_private_load(const struct key_options *key, struct buf *out_error,
                                        struct buf *out_pem);

void key_bytes_wipe(struct buf *bytes);

bool key_id_is_valid(struct slice kid); /* [A-Za-z0-9_-]{1,64} */

/* "key <kid> (<file>): <reason>"; always CONFIG_INVALID. */
enum status key_refuse(const struct key_options *key, struct buf *out_error, const char *reason);
