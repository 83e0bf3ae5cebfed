/* net/tls_context.h — certificates, ALPN and policy of one side of TLS. Immutable after creation and reference counted:
 * a reload makes a new one, open conns keep the old. Thread-safe. */
#pragma once

#include "base/buf.h"
#include "base/status.h"

struct tls_context;

struct tls_certificate {
    const char *certificate_file; /* PEM chain */
    const char *key_file;         /* PEM */
};

struct tls_server_options {
    const struct tls_certificate
        *certificates; /* the first is the default; others are chosen by SNI (exact, *.x) */
    size_t certificate_count;
    bool offer_h2;               /* ALPN h2 before http/1.1 */
    const char *client_ca_file;  /* NULL: client certificates are not asked for */
    const char *ticket_key_file; /* NULL: random keys, shared by all workers of this process */
    unsigned messages_per_s;     /* KeyUpdates and the like after the handshake; 0: 100 */
};

struct tls_client_options {
    const char *ca_file;          /* NULL: the system's */
    const char *certificate_file; /* NULL: none (mTLS otherwise) */
    const char *key_file;
    struct slice alpn;       /* "h2", "http/1.1" or empty */
    unsigned messages_per_s; /* as above */
};

/* `out_error` (optional) gets what is wrong, naming the file. Errors: CONFIG_INVALID. TLS 1.2 and 1.3 only, renegotiation
 * off, SSL_MODE_RELEASE_BUFFERS. A client that offers ALPN but nothing in common gets the fatal alert. */
MUST_CHECK enum status tls_context_create_server(const struct tls_server_options *options,
                                                 struct buf *out_error,
                                                 struct tls_context **out_context);
MUST_CHECK enum status tls_context_create_client(const struct tls_client_options *options,
                                                 struct buf *out_error,
                                                 struct tls_context **out_context);
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(
    struct tls_context **context); /* sets *context to NULL; may already be NULL */

/* Is `host` (lower case, no port) covered by the names of the certificate that `server_name` selects? */
bool tls_context_covers(const struct tls_context *context, struct slice server_name,
                        struct slice host);

/* Writes a self-signed P-256 certificate for the given DNS names and IPs, and its key (mode 0600). */
MUST_CHECK enum status tls_write_self_signed(const char *certificate_file, const char *key_file,
                                             const char *const *names, size_t name_count);
