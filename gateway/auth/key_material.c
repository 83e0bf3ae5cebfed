/* auth/key_material.c — see key_material.h. A key is checked when it is loaded, so that
 * verification need not ask again whether the key fits its algorithm: family, curve, size, and that
 * nobody configured a public key as an HMAC secret. */
#include "auth/key_material.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/mem.h"

enum {
    KEY_FILE_BYTES = 64 * 1024,
    KEY_ID_BYTES = 64,
    RSA_LEAST_BITS = 2048,
    RSA_MOST_BITS = 16384
};

static const struct key_algorithm algorithms[TOKEN_ALGORITHM_COUNT] = {
    [TOKEN_HS256] = { "HS256", "SHA256", KEY_HMAC, 32, NULL, 0 },
    [TOKEN_HS384] = { "HS384", "SHA384", KEY_HMAC, 48, NULL, 0 },
    [TOKEN_HS512] = { "HS512", "SHA512", KEY_HMAC, 64, NULL, 0 },
    [TOKEN_RS256] = { "RS256", "SHA256", KEY_RSA, 32, NULL, 0 },
    [TOKEN_RS384] = { "RS384", "SHA384", KEY_RSA, 48, NULL, 0 },
    [TOKEN_RS512] = { "RS512", "SHA512", KEY_RSA, 64, NULL, 0 },
    [TOKEN_ES256] = { "ES256", "SHA256", KEY_EC, 32, "prime256v1", 64 },
    [TOKEN_ES384] = { "ES384", "SHA384", KEY_EC, 48, "secp384r1", 96 },
    [TOKEN_ES512] = { "ES512", "SHA512", KEY_EC, 64, "secp521r1", 132 },
};

const struct key_algorithm *key_algorithm_of(enum token_algorithm algorithm)
{
    ENSURE(algorithm < TOKEN_ALGORITHM_COUNT);
    return &algorithms[algorithm];
}

bool token_algorithm_from_text(struct slice text, enum token_algorithm *out_algorithm)
{
    for (unsigned i = 0; i < TOKEN_ALGORITHM_COUNT; i++) {
        if (slice_equal(text, slice_from_string(algorithms[i].name))) {
            *out_algorithm = (enum token_algorithm)i;
            return true;
        }
    }
    return false;
}

const char *token_algorithm_text(enum token_algorithm algorithm)
{
    return key_algorithm_of(algorithm)->name;
}

bool key_id_is_valid(struct slice kid)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

    if (kid.len == 0 || kid.len > KEY_ID_BYTES)
        return false;
    for (size_t i = 0; i < kid.len; i++)
        if (memchr(allowed, kid.ptr[i], sizeof(allowed) - 1) == NULL)
            return false;
    return true;
}

enum status key_refuse(const struct key_options *key, struct buf *out_error, const char *reason)
{
    if (out_error != NULL)
        buf_printf(out_error, "key %s (%s): %s", key->kid != NULL ? key->kid : "without kid",
                   key->file != NULL ? key->file : "no file", reason);
    ERR_clear_error(); /* the TLS code of this thread must not find our leftovers */
    return STATUS_CONFIG_INVALID;
}

void key_bytes_wipe(struct buf *bytes)
{
    if (bytes->memory != NULL)
        mem_wipe(bytes->memory, bytes->capacity);
    buf_deinit(bytes);
}

/* The room is taken at once: growing would leave copies of the secret in freed memory. */
static enum status read_file(const struct key_options *key, struct buf *out_error, struct buf *into)
{
    int fd = key->file != NULL ? open(key->file, O_RDONLY | O_CLOEXEC) : -1;
    char *room = buf_reserve(into, KEY_FILE_BYTES + 1);
    size_t len = 0;
    ssize_t count = 1;

    if (fd < 0)
        return key_refuse(key, out_error, key->file != NULL ? strerror(errno) : "no file named");
    while (count > 0 && len <= KEY_FILE_BYTES) {
        count = read(fd, room + len, KEY_FILE_BYTES + 1 - len);
        if (count < 0 && errno == EINTR)
            count = 1;
        else if (count > 0)
            len += (size_t)count;
    }
    int read_error = count < 0 ? errno : 0;
    close(fd);
    if (read_error != 0)
        return key_refuse(key, out_error, strerror(read_error));
    if (len > KEY_FILE_BYTES)
        return key_refuse(key, out_error, "file is larger than 64 KiB");
    buf_commit(into, len);
    return STATUS_OK;
}

enum status key_secret_load(const struct key_options *key, struct buf *out_error,
                            struct buf *out_secret)
{
    const struct key_algorithm *algorithm = key_algorithm_of(key->algorithm);
    enum status status = read_file(key, out_error, out_secret);

    ENSURE(algorithm->family == KEY_HMAC);
    if (status != STATUS_OK)
        return status;
    struct slice secret = buf_slice(out_secret);
    if (secret.len > 0 && secret.ptr[secret.len - 1] == '\n')
        out_secret->len--;
    if (slice_starts_with(secret, SLICE("-----BEGIN ")))
        return key_refuse(key, out_error, "a PEM file cannot be the secret of an HS algorithm");
    if (out_secret->len < algorithm->digest_bytes)
        return key_refuse(key, out_error, "secret is shorter than the algorithm's hash");
    return STATUS_OK;
}

/* Never ask on the terminal: a daemon has none. */
static int refuse_password(char *buffer, int size, int writing, void *arg)
{
    (void)buffer, (void)size, (void)writing, (void)arg;
    return -1;
}

static EVP_PKEY *read_public_pem(BIO *pem)
{
    return PEM_read_bio_PUBKEY(pem, NULL, refuse_password, NULL);
}

static EVP_PKEY *read_private_pem(BIO *pem)
{
    return PEM_read_bio_PrivateKey(pem, NULL, refuse_password, NULL);
}

static EVP_PKEY *read_certificate_pem(BIO *pem)
{
    X509 *certificate = PEM_read_bio_X509(pem, NULL, refuse_password, NULL);
    EVP_PKEY *key = certificate != NULL ? X509_get_pubkey(certificate) : NULL;

    X509_free(certificate);
    return key;
}

static EVP_PKEY *parse_pem(struct slice text, EVP_PKEY *(*reader)(BIO *pem))
{
    BIO *pem = BIO_new_mem_buf(text.ptr, (int)text.len);
    EVP_PKEY *key = pem != NULL ? reader(pem) : NULL;

    BIO_free(pem);
    ERR_clear_error();
    return key;
}

static const char *what_is_wrong_with_ec(EVP_PKEY *key, const struct key_algorithm *algorithm)
{
    char curve[64] = "";
    size_t curve_len = 0;
    int is_explicit = 0;

    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC)
        return "the algorithm needs an EC key";
    if (EVP_PKEY_get_group_name(key, curve, sizeof(curve), &curve_len) != 1 ||
        strcmp(curve, algorithm->curve) != 0)
        return "the algorithm needs a key on another curve";
    if (EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                               &is_explicit) == 1 &&
        is_explicit != 0)
        return "the curve must be named, not spelt out by parameters";
    return NULL;
}

static const char *what_is_wrong(EVP_PKEY *key, const struct key_algorithm *algorithm)
{
    if (key == NULL)
        return "no usable PEM key found (encrypted keys are not taken)";
    if (algorithm->family == KEY_EC)
        return what_is_wrong_with_ec(key, algorithm);
    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)
        return "the algorithm needs an RSA key";
    if (EVP_PKEY_get_bits(key) < RSA_LEAST_BITS)
        return "an RSA key needs at least 2048 bits";
    return EVP_PKEY_get_bits(key) > RSA_MOST_BITS ? "an RSA key may have at most 16384 bits" : NULL;
}

enum status key_public_load(const struct key_options *key, struct buf *out_error,
                            EVP_PKEY **out_key)
{
    static EVP_PKEY *(*const readers[])(BIO * pem) = { read_public_pem, read_private_pem,
                                                       read_certificate_pem };
    const struct key_algorithm *algorithm = key_algorithm_of(key->algorithm);
    EVP_PKEY *parsed = NULL;
    struct buf text = { 0 };
    enum status status = read_file(key, out_error, &text);

    ENSURE(algorithm->family != KEY_HMAC);
    for (size_t i = 0;
         status == STATUS_OK && parsed == NULL && i < sizeof(readers) / sizeof(*readers); i++)
        parsed = parse_pem(buf_slice(&text), readers[i]);
    key_bytes_wipe(&text);
    const char *wrong = status == STATUS_OK ? what_is_wrong(parsed, algorithm) : NULL;
    if (wrong != NULL)
        status = key_refuse(key, out_error, wrong);
    if (status == STATUS_OK)
        *out_key = parsed;
    else
        EVP_PKEY_free(parsed);
    return status;
}

enum status key_private_load(const struct key_options *key, struct buf *out_error,
                             struct buf *out_pem)
{
    const struct key_algorithm *algorithm = key_algorithm_of(key->algorithm);
    enum status status = read_file(key, out_error, out_pem);

    ENSURE(algorithm->family != KEY_HMAC);
    if (status != STATUS_OK)
        return status;
    EVP_PKEY *parsed = parse_pem(buf_slice(out_pem), read_private_pem);
    const char *wrong =
        parsed == NULL ? "a PEM private key is needed to sign" : what_is_wrong(parsed, algorithm);
    EVP_PKEY_free(parsed);
    return wrong != NULL ? key_refuse(key, out_error, wrong) : STATUS_OK;
}
