/* support/key_fixtures.c — see key_fixtures.h. */
#include "key_fixtures.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/base64.h"

void key_fixtures_init(struct key_fixtures *fixtures)
{
    strcpy(fixtures->directory, "/tmp/gateway-keys-XXXXXX");
    ENSURE(mkdtemp(fixtures->directory) != NULL);
}

void key_fixtures_deinit(struct key_fixtures *fixtures)
{
    DIR *directory = opendir(fixtures->directory);

    ENSURE(directory != NULL);
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory))
        if (entry->d_name[0] != '.')
            unlink(key_fixtures_path(fixtures, entry->d_name));
    closedir(directory);
    rmdir(fixtures->directory);
}

const char *key_fixtures_path(const struct key_fixtures *fixtures, const char *name)
{
    static char paths[8][512];
    static unsigned turn;
    char *path = paths[turn++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s", fixtures->directory, name);
    return path;
}

static FILE *open_for(const struct key_fixtures *fixtures, const char *name, const char *suffix)
{
    char full_name[128];

    snprintf(full_name, sizeof(full_name), "%s%s", name, suffix);
    FILE *file = fopen(key_fixtures_path(fixtures, full_name), "wb");
    ENSURE(file != NULL);
    return file;
}

static void write_certificate(const struct key_fixtures *fixtures, const char *name, EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    FILE *file = open_for(fixtures, name, ".crt.pem");

    ENSURE(certificate != NULL && X509_set_version(certificate, 2) == 1);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)"control plane", -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    ENSURE(X509_set_pubkey(certificate, key) == 1 && X509_sign(certificate, key, EVP_sha256()) > 0);
    ENSURE(PEM_write_X509(file, certificate) == 1);
    fclose(file);
    X509_free(certificate);
}

static void write_key(const struct key_fixtures *fixtures, const char *name, EVP_PKEY *key)
{
    FILE *private_file = open_for(fixtures, name, ".pem");
    FILE *public_file = open_for(fixtures, name, ".pub.pem");

    ENSURE(key != NULL);
    ENSURE(PEM_write_PrivateKey(private_file, key, NULL, NULL, 0, NULL, NULL) == 1);
    ENSURE(PEM_write_PUBKEY(public_file, key) == 1);
    fclose(private_file);
    fclose(public_file);
    write_certificate(fixtures, name, key);
    EVP_PKEY_free(key);
}

void key_fixtures_rsa(const struct key_fixtures *fixtures, const char *name, unsigned bits)
{
    write_key(fixtures, name, EVP_RSA_gen(bits));
}

void key_fixtures_ec(const struct key_fixtures *fixtures, const char *name, const char *curve)
{
    write_key(fixtures, name, EVP_EC_gen(curve));
}

void key_fixtures_file(const struct key_fixtures *fixtures, const char *name, struct slice bytes)
{
    FILE *file = open_for(fixtures, name, "");

    ENSURE(fwrite(bytes.ptr, 1, bytes.len, file) == bytes.len);
    fclose(file);
}

void read_whole_file(const char *path, struct buf *into)
{
    FILE *file = fopen(path, "rb");
    size_t count;

    ENSURE(file != NULL);
    do {
        count = fread(buf_reserve(into, 4096), 1, 4096, file);
        buf_commit(into, count);
    } while (count > 0);
    fclose(file);
}

static const EVP_MD *digest_of(enum token_algorithm algorithm)
{
    const EVP_MD *const digests[] = { EVP_sha256(), EVP_sha384(), EVP_sha512() };

    return digests[algorithm % 3];
}

static void sign_hmac(enum token_algorithm algorithm, const char *key_file, struct slice text,
                      struct buf *into)
{
    struct buf secret = { 0 };
    unsigned len = 0;

    read_whole_file(key_file, &secret);
    if (secret.len > 0 && buf_slice(&secret).ptr[secret.len - 1] == '\n')
        secret.len--;
    HMAC(digest_of(algorithm), secret.memory, (int)secret.len, (const unsigned char *)text.ptr,
         text.len, (unsigned char *)buf_reserve(into, EVP_MAX_MD_SIZE), &len);
    buf_commit(into, len);
    buf_deinit(&secret);
}

/* DER to r and s side by side. */
static void append_raw_ecdsa(const unsigned char *der, size_t der_len, int half, struct buf *into)
{
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)der_len);
    unsigned char *raw = (unsigned char *)buf_reserve(into, 2 * (size_t)half);

    ENSURE(pair != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, half) == half &&
           BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + half, half) == half);
    buf_commit(into, 2 * (size_t)half);
    ECDSA_SIG_free(pair);
}

static void sign_asymmetric(enum token_algorithm algorithm, const char *key_file, struct slice text,
                            struct buf *into)
{
    unsigned char signature[2048];
    size_t len = sizeof(signature);
    FILE *file = fopen(key_file, "rb");

    ENSURE(file != NULL);
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    fclose(file);
    ENSURE(EVP_DigestSignInit(context, NULL, digest_of(algorithm), NULL, key) == 1 &&
           EVP_DigestSign(context, signature, &len, (const unsigned char *)text.ptr, text.len) ==
               1);
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC)
        append_raw_ecdsa(signature, len, (EVP_PKEY_get_bits(key) + 7) / 8, into);
    else
        buf_append(into, slice_of(signature, len));
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
}

void token_sign_by_hand(enum token_algorithm algorithm, const char *key_file, struct slice header,
                        struct slice claims, struct buf *into)
{
    struct buf text = { 0 };
    struct buf signature = { 0 };

    base64url_encode(header, &text);
    buf_append_byte(&text, '.');
    base64url_encode(claims, &text);
    if (algorithm <= TOKEN_HS512)
        sign_hmac(algorithm, key_file, buf_slice(&text), &signature);
    else
        sign_asymmetric(algorithm, key_file, buf_slice(&text), &signature);
    buf_append_byte(&text, '.');
    base64url_encode(buf_slice(&signature), &text);
    buf_append(into, buf_slice(&text));
    buf_deinit(&signature);
    buf_deinit(&text);
}
