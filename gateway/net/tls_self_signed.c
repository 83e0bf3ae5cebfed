/* net/tls_self_signed.c — a certificate for development and tests: P-256, its own issuer, good for
 * 825 days. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/buf.h"
#include "net/tls_context.h"

enum { LIFE_S = 825 * 24 * 3600, BACKDATE_S = 3600 };

/* Letters that cannot change the meaning of the extension's text. */
static bool name_is_plain(const char *name)
{
    return name[0] != '\0' &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                             ".-_*:")] == '\0';
}

/* "DNS:a.example,IP:127.0.0.1" */
static bool alternative_names(const char *const *names, size_t name_count, struct buf *into)
{
    unsigned char ip[16];

    for (size_t i = 0; i < name_count; i++) {
        bool is_ip =
            inet_pton(AF_INET, names[i], ip) == 1 || inet_pton(AF_INET6, names[i], ip) == 1;

        if (!name_is_plain(names[i]) || (!is_ip && strchr(names[i], ':') != NULL))
            return false;
        buf_printf(into, "%s%s:%s", i > 0 ? "," : "", is_ip ? "IP" : "DNS", names[i]);
    }
    return name_count > 0;
}

static bool add_extension(X509 *x509, int nid, const char *text)
{
    X509V3_CTX context;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, x509, x509, NULL, NULL, 0);

    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, text);
    bool added = extension != NULL && X509_add_ext(x509, extension, -1) == 1;

    X509_EXTENSION_free(extension);
    return added;
}

static bool set_identity(X509 *x509, EVP_PKEY *key, const char *common_name)
{
    X509_NAME *subject = X509_get_subject_name(x509);
    uint64_t serial;

    if (RAND_bytes((unsigned char *)&serial, sizeof(serial)) != 1)
        return false;
    serial = serial >> 1 | 1; /* positive */
    return X509_set_version(x509, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509), serial) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(x509), -BACKDATE_S) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(x509), LIFE_S) != NULL &&
           X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC,
                                      (const unsigned char *)"exec-gateway self-signed", -1, -1,
                                      0) == 1 &&
           (strlen(common_name) > 64 || /* the limit of a common name; nobody reads it */
            X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                       (const unsigned char *)common_name, -1, -1, 0) == 1) &&
           X509_set_issuer_name(x509, subject) == 1 && X509_set_pubkey(x509, key) == 1;
}

static bool sign(X509 *x509, EVP_PKEY *key, const char *names)
{
    return add_extension(x509, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(x509, NID_key_usage, "critical,digitalSignature") &&
           add_extension(x509, NID_ext_key_usage, "serverAuth,clientAuth") &&
           add_extension(x509, NID_subject_key_identifier, "hash") &&
           add_extension(x509, NID_subject_alt_name, names) &&
           X509_sign(x509, key, EVP_sha256()) > 0;
}

/* A fresh file with exactly this mode, whatever stood there. */
static FILE *open_fresh(const char *path, mode_t mode)
{
    (void)unlink(path);

    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    FILE *file = fd != -1 ? fdopen(fd, "w") : NULL;

    if (fd != -1 && file == NULL)
        close(fd);
    return file;
}

static bool write_files(const char *certificate_file, const char *key_file, X509 *x509,
                        EVP_PKEY *key)
{
    FILE *file = open_fresh(key_file, 0600);
    bool written = file != NULL && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1;

    written = (file == NULL || fclose(file) == 0) && written;
    if (!written)
        return false;
    file = open_fresh(certificate_file, 0644);
    written = file != NULL && PEM_write_X509(file, x509) == 1;
    return (file == NULL || fclose(file) == 0) && written;
}

enum status tls_write_self_signed(const char *certificate_file, const char *key_file,
                                  const char *const *names, size_t name_count)
{
    struct buf alternative = { 0 };

    if (!alternative_names(names, name_count, &alternative)) {
        buf_deinit(&alternative);
        return STATUS_CONFIG_INVALID;
    }

    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    bool written = key != NULL && x509 != NULL && set_identity(x509, key, names[0]) &&
                   sign(x509, key, buf_text(&alternative)) &&
                   write_files(certificate_file, key_file, x509, key);

    X509_free(x509);
    EVP_PKEY_free(key);
    buf_deinit(&alternative);
    ERR_clear_error();
    return written ? STATUS_OK : STATUS_SYSTEM;
}
