/* auth/key_store.c — see key_store.h. Everything that a verification needs is made when the key is
 * loaded; afterwards the store is only read, so workers share it without a lock. */
#include "auth/key_store.h"

#include <stdatomic.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "auth/key_material.h"
#include "base/mem.h"

struct stored_key {
    char *kid;
    const struct key_algorithm *algorithm;
    EVP_MD *digest;
    /* Ready to go, never used itself: each verification works on a copy. Looking for an algorithm by
     * its name each time would be a good part of the work. */
    EVP_PKEY_CTX *verifier; /* RS*, ES* */
    EVP_MAC_CTX *mac;       /* HS* */
};

struct key_store {
    atomic_size_t ref_count;
    size_t key_count;
    struct stored_key keys[];
};

static enum status prepare_mac(const struct key_options *options, struct buf *out_error,
                               struct stored_key *key)
{
    struct buf secret = { 0 };
    enum status status = key_secret_load(options, out_error, &secret);

    if (status == STATUS_OK) {
        EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
        key->mac = hmac != NULL ? EVP_MAC_CTX_new(hmac) : NULL;
        EVP_MAC_free(hmac);
        OSSL_PARAM parameters[] = { OSSL_PARAM_construct_utf8_string(
                                        OSSL_MAC_PARAM_DIGEST,
                                        (char *)(uintptr_t)key->algorithm->digest, 0),
                                    OSSL_PARAM_construct_end() };
        struct slice bytes = buf_slice(&secret);
        if (key->mac == NULL ||
            EVP_MAC_init(key->mac, (const unsigned char *)bytes.ptr, bytes.len, parameters) != 1)
            status = key_refuse(options, out_error, "OpenSSL refuses the secret");
    }
    key_bytes_wipe(&secret);
    return status;
}

static enum status prepare_verifier(const struct key_options *options, struct buf *out_error,
                                    struct stored_key *key)
{
    EVP_PKEY *public_key = NULL;
    enum status status = key_public_load(options, out_error, &public_key);

    if (status != STATUS_OK)
        return status;
    key->verifier = EVP_PKEY_CTX_new(public_key, NULL);
    EVP_PKEY_free(public_key); /* the verifier has its own reference */
    if (key->verifier == NULL || EVP_PKEY_verify_init(key->verifier) != 1 ||
        EVP_PKEY_CTX_set_signature_md(key->verifier, key->digest) != 1)
        return key_refuse(options, out_error, "OpenSSL refuses the key");
    return STATUS_OK;
}

static enum status load_key(const struct key_options *options, struct buf *out_error,
                            struct key_store *store)
{
    struct stored_key *key = &store->keys[store->key_count];
    struct slice kid = slice_from_string(options->kid);

    if (!key_id_is_valid(kid))
        return key_refuse(options, out_error, "kid must be 1 to 64 of A-Z a-z 0-9 _ -");
    for (size_t i = 0; i < store->key_count; i++)
        if (slice_equal(slice_from_string(store->keys[i].kid), kid))
            return key_refuse(options, out_error, "this kid is listed twice");
    *key = (struct stored_key){ .kid = slice_dup(kid),
                                .algorithm = key_algorithm_of(options->algorithm) };
    store->key_count++; /* from here on, unref frees it */
    key->digest = EVP_MD_fetch(NULL, key->algorithm->digest, NULL);
    ENSURE(key->digest != NULL);
    return key->algorithm->family == KEY_HMAC ? prepare_mac(options, out_error, key)
                                              : prepare_verifier(options, out_error, key);
}

enum status key_store_create(const struct key_options *keys, size_t key_count,
                             struct buf *out_error, struct key_store **out_store)
{
    if (key_count == 0) {
        if (out_error != NULL)
            buf_append(out_error, SLICE("at least one key is required"));
        return STATUS_CONFIG_INVALID;
    }
    struct key_store *store = mem_zeroed(sizeof(*store) + key_count * sizeof(store->keys[0]));
    enum status status = STATUS_OK;

    atomic_init(&store->ref_count, 1);
    for (size_t i = 0; i < key_count && status == STATUS_OK; i++)
        status = load_key(&keys[i], out_error, store);
    if (status == STATUS_OK)
        *out_store = store;
    else
        key_store_unref(&store);
    return status;
}

struct key_store *key_store_ref(struct key_store *store)
{
    atomic_fetch_add_explicit(&store->ref_count, 1, memory_order_relaxed);
    return store;
}

void key_store_unref(struct key_store **store)
{
    struct key_store *gone = *store;

    *store = NULL;
    if (gone == NULL || atomic_fetch_sub_explicit(&gone->ref_count, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < gone->key_count; i++) {
        mem_free(gone->keys[i].kid);
        EVP_PKEY_CTX_free(gone->keys[i].verifier);
        EVP_MD_free(gone->keys[i].digest);
        EVP_MAC_CTX_free(gone->keys[i].mac); /* wipes its copy of the secret */
    }
    mem_free(gone);
}

/* OpenSSL says "no" (0) as well when it has no memory, with or without an error that says so. Of a
 * wrong RSA signature RSA itself always says what is wrong with it; of a wrong ECDSA signature it
 * says nothing, or that its numbers are out of range. */
static enum status verdict_of(int result, enum key_family family)
{
    bool is_wrong = result == 0 && family != KEY_RSA;
    bool lacks_memory = false;

    /* The queue is empty afterwards, whatever the outcome: the TLS code of this thread must not find
     * our leftovers. */
    for (unsigned long error = ERR_get_error(); error != 0; error = ERR_get_error()) {
        is_wrong |= result == 0 && ERR_GET_LIB(error) == ERR_LIB_RSA;
        lacks_memory |= ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE ||
                        (family == KEY_EC && ERR_GET_REASON(error) != EC_R_BAD_SIGNATURE);
    }
    if (result == 1)
        return STATUS_OK;
    return is_wrong && !lacks_memory ? STATUS_TOKEN_SIGNATURE : STATUS_OVERLOADED;
}

static enum status check_mac(const struct stored_key *key, struct slice signed_bytes,
                             struct slice signature)
{
    unsigned char expected[EVP_MAX_MD_SIZE];
    size_t expected_len = 0;
    EVP_MAC_CTX *mac = EVP_MAC_CTX_dup(key->mac);
    bool made =
        mac != NULL &&
        EVP_MAC_update(mac, (const unsigned char *)signed_bytes.ptr, signed_bytes.len) == 1 &&
        EVP_MAC_final(mac, expected, &expected_len, sizeof(expected)) == 1;

    EVP_MAC_CTX_free(mac);
    if (!made)
        return verdict_of(-1, key->algorithm->family);
    return verdict_of(signature.len == expected_len &&
                          signature.len == key->algorithm->digest_bytes &&
                          CRYPTO_memcmp(expected, signature.ptr, expected_len) == 0,
                      KEY_HMAC);
}

/* In two steps, since EVP_DigestVerify() does not tell a digest that could not be made from a
 * signature that is wrong. */
static enum status check_signature(const struct stored_key *key, struct slice signed_bytes,
                                   struct slice signature)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    EVP_PKEY_CTX *context = NULL;
    int result = -1;

    if (EVP_Digest(signed_bytes.ptr, signed_bytes.len, digest, &len, key->digest, NULL) == 1)
        context = EVP_PKEY_CTX_dup(key->verifier);
    if (context != NULL)
        result = EVP_PKEY_verify(context, (const unsigned char *)signature.ptr, signature.len,
                                 digest, len);
    EVP_PKEY_CTX_free(context);
    return verdict_of(result, key->algorithm->family);
}

/* Returns the length, or 0 without memory. */
static size_t to_der(const unsigned char *raw, size_t half, unsigned char **out_der)
{
    BIGNUM *r = BN_bin2bn(raw, (int)half, NULL);
    BIGNUM *s = BN_bin2bn(raw + half, (int)half, NULL);
    ECDSA_SIG *pair = ECDSA_SIG_new();
    int len = -1;

    if (r != NULL && s != NULL && pair != NULL && ECDSA_SIG_set0(pair, r, s) == 1) {
        r = s = NULL; /* the pair's */
        len = i2d_ECDSA_SIG(pair, out_der);
    }
    ECDSA_SIG_free(pair);
    BN_free(r);
    BN_free(s);
    return len > 0 ? (size_t)len : 0;
}

/* JWS carries r and s side by side, each padded to the curve's length (RFC 7518 §3.4); OpenSSL
 * wants them in DER. */
static enum status check_ecdsa(const struct stored_key *key, struct slice signed_bytes,
                               struct slice signature)
{
    size_t half = key->algorithm->signature_bytes / 2;
    unsigned char *der = NULL;

    if (signature.len != key->algorithm->signature_bytes)
        return STATUS_TOKEN_SIGNATURE;
    size_t len = to_der((const unsigned char *)signature.ptr, half, &der);
    enum status status = len > 0 ? check_signature(key, signed_bytes, slice_of(der, len))
                                 : verdict_of(-1, key->algorithm->family);

    OPENSSL_free(der);
    return status;
}

static const struct stored_key *find_key(const struct key_store *store, struct slice kid)
{
    for (size_t i = 0; i < store->key_count; i++)
        if (slice_equal(slice_from_string(store->keys[i].kid), kid))
            return &store->keys[i];
    return NULL;
}

enum status key_store_verify(const struct key_store *store, struct slice kid,
                             struct slice algorithm, struct slice signed_bytes,
                             struct slice signature)
{
    const struct stored_key *key = find_key(store, kid);

    if (key == NULL)
        return STATUS_TOKEN_KEY_UNKNOWN;
    if (!slice_equal(algorithm, slice_from_string(key->algorithm->name)))
        return STATUS_TOKEN_ALGORITHM;
    ERR_clear_error(); /* verdict_of() reads what comes from here on */
    switch (key->algorithm->family) {
    case KEY_HMAC:
        return check_mac(key, signed_bytes, signature);
    case KEY_RSA:
        return check_signature(key, signed_bytes, signature);
    case KEY_EC:
        return check_ecdsa(key, signed_bytes, signature);
    }
    return STATUS_TOKEN_SIGNATURE;
}
