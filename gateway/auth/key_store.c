/* auth/key_store.c — see key_store.h. Everything that a verification needs is made when the key is
 * loaded; afterwards the store is only read, so workers share it without a lock. */
#include "auth/key_store.h"

#include <stdatomic.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "auth/key_material.h"
#include "base/mem.h"

struct stored_key {
    char *kid;
    const struct key_algorithm *algorithm;
    const EVP_MD *digest;
    EVP_PKEY *public_key; /* RS*, ES* */
    EVP_MAC_CTX *mac;     /* HS*: keyed, never used itself: each verification works on a copy */
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
    key->digest = EVP_get_digestbyname(key->algorithm->digest);
    ENSURE(key->digest != NULL);
    return key->algorithm->family == KEY_HMAC
               ? prepare_mac(options, out_error, key)
               : key_public_load(options, out_error, &key->public_key);
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
        EVP_PKEY_free(gone->keys[i].public_key);
        EVP_MAC_CTX_free(gone->keys[i].mac); /* wipes its copy of the secret */
    }
    mem_free(gone);
}

static bool mac_is_good(const struct stored_key *key, struct slice signed_bytes,
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
    return made && signature.len == expected_len && signature.len == key->algorithm->digest_bytes &&
           CRYPTO_memcmp(expected, signature.ptr, expected_len) == 0;
}

static bool signature_is_good(const struct stored_key *key, struct slice signed_bytes,
                              struct slice signature)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL &&
                EVP_DigestVerifyInit(context, NULL, key->digest, NULL, key->public_key) == 1 &&
                EVP_DigestVerify(context, (const unsigned char *)signature.ptr, signature.len,
                                 (const unsigned char *)signed_bytes.ptr, signed_bytes.len) == 1;

    EVP_MD_CTX_free(context);
    return good;
}

/* JWS carries r and s side by side, each padded to the curve's length (RFC 7518 §3.4); OpenSSL
 * wants them in DER. */
static bool ecdsa_is_good(const struct stored_key *key, struct slice signed_bytes,
                          struct slice signature)
{
    const unsigned char *raw = (const unsigned char *)signature.ptr;
    size_t half = key->algorithm->signature_bytes / 2;

    if (signature.len != key->algorithm->signature_bytes)
        return false;
    BIGNUM *r = BN_bin2bn(raw, (int)half, NULL);
    BIGNUM *s = BN_bin2bn(raw + half, (int)half, NULL);
    ECDSA_SIG *pair = ECDSA_SIG_new();
    ENSURE(r != NULL && s != NULL && pair != NULL); /* out of memory, as in mem.c */
    ECDSA_SIG_set0(pair, r, s);

    unsigned char *der = NULL;
    int der_len = i2d_ECDSA_SIG(pair, &der);
    bool good = der_len > 0 && signature_is_good(key, signed_bytes, slice_of(der, (size_t)der_len));
    OPENSSL_free(der);
    ECDSA_SIG_free(pair);
    return good;
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
    bool good = false;

    if (key == NULL)
        return STATUS_TOKEN_KEY_UNKNOWN;
    if (!slice_equal(algorithm, slice_from_string(key->algorithm->name)))
        return STATUS_TOKEN_ALGORITHM;
    switch (key->algorithm->family) {
    case KEY_HMAC:
        good = mac_is_good(key, signed_bytes, signature);
        break;
    case KEY_RSA:
        good = signature_is_good(key, signed_bytes, signature);
        break;
    case KEY_EC:
        good = ecdsa_is_good(key, signed_bytes, signature);
        break;
    }
    if (!good)
        ERR_clear_error(); /* the TLS code of this thread must not find our leftovers */
    return good ? STATUS_OK : STATUS_TOKEN_SIGNATURE;
}
