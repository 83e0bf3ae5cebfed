/* net/tls_context.c — OpenSSL's SSL_CTX with our policy. A server has one SSL_CTX for each
 * certificate, equal in all else; SNI switches a handshake from the first to the one whose names
 * cover it: an exact name before a wildcard. */
#include "net/tls_context.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/map.h"
#include "base/mem.h"
#include "net/tls_context_internal.h"

enum {
    NAME_MAX_BYTES = 255,
    MESSAGES_PER_S = 100,
    READ_BUFFER_BYTES = 33 * 1024 /* two full records: fewer recv() under bulk */
};

static const char cipher_list[] = "ECDHE+AESGCM:ECDHE+CHACHA20"; /* of TLS 1.2 */
static const char group_list[] = "X25519:P-256:P-384";
static const unsigned char alpn_both[] = "\x02h2\x08http/1.1";
static const unsigned char alpn_http1[] = "\x08http/1.1";

struct tls_name {
    struct map_entry in_context; /* when it is the first certificate with this name */
    struct map_entry in_certificate;
    size_t certificate_index;
    char text[]; /* "a.example", "*.example", "127.0.0.1" */
};

struct certificate {
    SSL_CTX *ctx;
    struct map names;
};

struct tls_context {
    atomic_size_t reference_count;
    bool is_server;
    bool offer_h2;
    unsigned messages_per_s;
    struct tls_tickets *tickets;      /* NULL: the process's */
    struct certificate *certificates; /* a client has one, maybe without a certificate */
    size_t certificate_count;
    struct map names;
};

/* Says what is wrong with `file`, with OpenSSL's last word about it. */
static enum status refuse(struct buf *out_error, const char *file, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    if (out_error != NULL)
        buf_printf(out_error, "%s: %s%s%s", file, what, reason != NULL ? ": " : "",
                   reason != NULL ? reason : "");
    ERR_clear_error();
    return STATUS_CONFIG_INVALID;
}

/* Nobody is there to type the password of an encrypted key. */
static int no_password(char *into, int size, int is_writing, void *arg)
{
    (void)into;
    (void)size;
    (void)is_writing;
    (void)arg;
    return -1;
}

static SSL_CTX *ctx_create(struct tls_context *context)
{
    SSL_CTX *ctx = SSL_CTX_new(context->is_server ? TLS_server_method() : TLS_client_method());

    ENSURE(ctx != NULL);
    SSL_CTX_set_app_data(ctx, context);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    ENSURE(SSL_CTX_set_cipher_list(ctx, cipher_list) == 1);
    ENSURE(SSL_CTX_set1_groups_list(ctx, group_list) == 1);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, READ_BUFFER_BYTES);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    return ctx;
}

static enum status load_certificate(SSL_CTX *ctx, const struct tls_certificate *files,
                                    struct buf *out_error)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, files->certificate_file) != 1)
        return refuse(out_error, files->certificate_file, "cannot load the certificate");
    if (SSL_CTX_use_PrivateKey_file(ctx, files->key_file, SSL_FILETYPE_PEM) != 1)
        return refuse(out_error, files->key_file, "cannot load the private key");
    if (SSL_CTX_check_private_key(ctx) != 1)
        return refuse(out_error, files->key_file, "the private key is not the certificate's");
    return STATUS_OK;
}

static void add_name(struct tls_context *context, size_t certificate_index, struct slice text)
{
    struct certificate *certificate = &context->certificates[certificate_index];
    struct tls_name *name;

    if (text.len == 0 || text.len > NAME_MAX_BYTES)
        return;
    name = mem_zeroed(sizeof(*name) + text.len);
    for (size_t i = 0; i < text.len; i++)
        name->text[i] = (char)tolower((unsigned char)text.ptr[i]);
    name->certificate_index = certificate_index;
    name->in_certificate.key = slice_of(name->text, text.len);
    name->in_context.key = name->in_certificate.key;
    if (map_find(&certificate->names, name->in_certificate.key) != NULL) {
        mem_free(name);
        return;
    }
    map_insert(&certificate->names, &name->in_certificate);
    if (map_find(&context->names, name->in_context.key) == NULL)
        map_insert(&context->names, &name->in_context);
}

static void add_general_name(struct tls_context *context, size_t certificate_index,
                             const GENERAL_NAME *general)
{
    char text[INET6_ADDRSTRLEN];

    if (general->type == GEN_DNS) {
        const ASN1_IA5STRING *dns = general->d.dNSName;

        add_name(context, certificate_index,
                 slice_of(ASN1_STRING_get0_data(dns), (size_t)ASN1_STRING_length(dns)));
    } else if (general->type == GEN_IPADD) {
        const ASN1_OCTET_STRING *ip = general->d.iPAddress;
        int family = ASN1_STRING_length(ip) == 4 ? AF_INET : AF_INET6;

        if ((family == AF_INET || ASN1_STRING_length(ip) == 16) &&
            inet_ntop(family, ASN1_STRING_get0_data(ip), text, sizeof(text)) != NULL)
            add_name(context, certificate_index, slice_from_string(text));
    }
}

static void add_names(struct tls_context *context, size_t certificate_index)
{
    X509 *x509 = SSL_CTX_get0_certificate(context->certificates[certificate_index].ctx);
    GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        add_general_name(context, certificate_index, sk_GENERAL_NAME_value(names, i));
    GENERAL_NAMES_free(names);
}

/* The entry of `host` itself, or of "*.rest" when it is "label.rest". */
static struct map_entry *find_name(const struct map *names, struct slice host)
{
    struct map_entry *found = map_find(names, host);
    size_t dot = slice_find(host, '.');
    char wildcard[NAME_MAX_BYTES + 2];

    if (found != NULL || dot == 0 || dot == host.len || host.len > NAME_MAX_BYTES)
        return found;
    wildcard[0] = '*';
    memcpy(wildcard + 1, host.ptr + dot, host.len - dot);
    return map_find(names, slice_of(wildcard, host.len - dot + 1));
}

static size_t select_certificate(const struct tls_context *context, struct slice server_name)
{
    struct map_entry *found = find_name(&context->names, server_name);

    return found != NULL ? CONTAINER_OF(found, struct tls_name, in_context)->certificate_index : 0;
}

bool tls_context_covers(const struct tls_context *context, struct slice server_name,
                        struct slice host)
{
    size_t index = select_certificate(context, server_name);

    return find_name(&context->certificates[index].names, host) != NULL;
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const struct tls_context *context = arg;
    struct slice sent = slice_from_string(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    char name[NAME_MAX_BYTES];

    (void)alert;
    if (sent.len == 0 || sent.len > sizeof(name))
        return SSL_TLSEXT_ERR_NOACK;
    for (size_t i = 0; i < sent.len; i++)
        name[i] = (char)tolower((unsigned char)sent.ptr[i]);

    size_t index = select_certificate(context, slice_of(name, sent.len));

    if (index != 0 && SSL_set_SSL_CTX(ssl, context->certificates[index].ctx) == NULL)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    return SSL_TLSEXT_ERR_OK;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *offered, unsigned offered_len, void *arg)
{
    const struct tls_context *context = arg;
    const unsigned char *ours = context->offer_h2 ? alpn_both : alpn_http1;
    unsigned ours_len = context->offer_h2 ? sizeof(alpn_both) - 1 : sizeof(alpn_http1) - 1;
    unsigned char *chosen;

    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_len, ours, ours_len, offered, offered_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* A session may be resumed only where clients are checked against the same CAs: otherwise a ticket
 * from before a reload would carry a client past the new ones. */
static bool bind_sessions(SSL_CTX *ctx, const char *client_ca_file)
{
    unsigned char digest[EVP_MAX_MD_SIZE] = { 0 };
    char bytes[4096];
    size_t count;
    FILE *file = client_ca_file != NULL ? fopen(client_ca_file, "re") : NULL;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool done = (client_ca_file == NULL || file != NULL) && md != NULL &&
                EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;

    while (done && file != NULL && (count = fread(bytes, 1, sizeof(bytes), file)) > 0)
        done = EVP_DigestUpdate(md, bytes, count) == 1;
    done = done && EVP_DigestFinal_ex(md, digest, NULL) == 1 &&
           SSL_CTX_set_session_id_context(ctx, digest, SSL_MAX_SID_CTX_LENGTH) == 1;
    EVP_MD_CTX_free(md);
    if (file != NULL)
        fclose(file);
    return done;
}

static enum status ask_for_client(SSL_CTX *ctx, const char *client_ca_file, struct buf *out_error)
{
    ERR_clear_error();
    if (client_ca_file != NULL) {
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(client_ca_file);

        if (names == NULL || SSL_CTX_load_verify_locations(ctx, client_ca_file, NULL) != 1) {
            sk_X509_NAME_pop_free(names, X509_NAME_free);
            return refuse(out_error, client_ca_file, "cannot load the client CAs");
        }
        SSL_CTX_set_client_CA_list(ctx, names);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    return bind_sessions(ctx, client_ca_file)
               ? STATUS_OK
               : refuse(out_error, client_ca_file != NULL ? client_ca_file : "tls",
                        "cannot bind sessions to the client CAs");
}

static struct tls_context *context_alloc(bool is_server, size_t certificate_count)
{
    struct tls_context *context = mem_zeroed(sizeof(*context));

    atomic_init(&context->reference_count, 1);
    context->is_server = is_server;
    context->certificate_count = certificate_count;
    context->certificates = mem_zeroed(certificate_count * sizeof(struct certificate));
    for (size_t i = 0; i < certificate_count; i++)
        context->certificates[i].ctx = ctx_create(context);
    return context;
}

static void set_messages(struct tls_context *context, unsigned per_s)
{
    context->messages_per_s = per_s > 0 ? per_s : MESSAGES_PER_S;
}

static enum status server_ctx_build(struct tls_context *context, size_t index,
                                    const struct tls_server_options *options, struct buf *out_error)
{
    SSL_CTX *ctx = context->certificates[index].ctx;
    enum status status = load_certificate(ctx, &options->certificates[index], out_error);

    if (status == STATUS_OK)
        status = ask_for_client(ctx, options->client_ca_file, out_error);
    if (status != STATUS_OK)
        return status;
    add_names(context, index);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, context);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, context);
    tls_tickets_install(ctx);
    return STATUS_OK;
}

enum status tls_context_create_server(const struct tls_server_options *options,
                                      struct buf *out_error, struct tls_context **out_context)
{
    ENSURE(options->certificate_count > 0);

    struct tls_context *context = context_alloc(true, options->certificate_count);
    enum status status = STATUS_OK;

    context->offer_h2 = options->offer_h2;
    set_messages(context, options->messages_per_s);
    for (size_t i = 0; status == STATUS_OK && i < options->certificate_count; i++)
        status = server_ctx_build(context, i, options, out_error);
    if (status == STATUS_OK && options->ticket_key_file != NULL)
        status = tls_tickets_load(options->ticket_key_file, out_error, &context->tickets);
    if (status == STATUS_OK)
        *out_context = context;
    else
        tls_context_unref(&context);
    return status;
}

static enum status client_ctx_build(SSL_CTX *ctx, const struct tls_client_options *options,
                                    struct buf *out_error)
{
    unsigned char alpn[NAME_MAX_BYTES + 1];

    ERR_clear_error();
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (options->ca_file != NULL && SSL_CTX_load_verify_locations(ctx, options->ca_file, NULL) != 1)
        return refuse(out_error, options->ca_file, "cannot load the CAs");
    if (options->ca_file == NULL && SSL_CTX_set_default_verify_paths(ctx) != 1)
        return refuse(out_error, "tls", "cannot load the system's CAs");
    if (options->alpn.len > 0) {
        ENSURE(options->alpn.len <= NAME_MAX_BYTES);
        alpn[0] = (unsigned char)options->alpn.len;
        memcpy(alpn + 1, options->alpn.ptr, options->alpn.len);
        ENSURE(SSL_CTX_set_alpn_protos(ctx, alpn, (unsigned)options->alpn.len + 1) == 0);
    }
    if (options->certificate_file == NULL)
        return STATUS_OK;

    struct tls_certificate files = { options->certificate_file, options->key_file != NULL
                                                                    ? options->key_file
                                                                    : options->certificate_file };

    return load_certificate(ctx, &files, out_error);
}

enum status tls_context_create_client(const struct tls_client_options *options,
                                      struct buf *out_error, struct tls_context **out_context)
{
    struct tls_context *context = context_alloc(false, 1);

    set_messages(context, options->messages_per_s);
    enum status status = client_ctx_build(context->certificates[0].ctx, options, out_error);

    if (status == STATUS_OK)
        *out_context = context;
    else
        tls_context_unref(&context);
    return status;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    atomic_fetch_add_explicit(&context->reference_count, 1, memory_order_relaxed);
    return context;
}

static void free_name(struct map_entry *entry, void *arg)
{
    (void)arg;
    mem_free(CONTAINER_OF(entry, struct tls_name, in_certificate));
}

void tls_context_unref(struct tls_context **context)
{
    struct tls_context *c = *context;

    *context = NULL;
    if (c == NULL || atomic_fetch_sub_explicit(&c->reference_count, 1, memory_order_acq_rel) > 1)
        return;
    map_deinit(&c->names);
    for (size_t i = 0; i < c->certificate_count; i++) {
        SSL_CTX_free(c->certificates[i].ctx);
        map_each(&c->certificates[i].names, free_name, NULL);
        map_deinit(&c->certificates[i].names);
    }
    tls_tickets_destroy(&c->tickets);
    mem_free(c->certificates);
    mem_free(c);
}

bool tls_context_is_server(const struct tls_context *context)
{
    return context->is_server;
}

unsigned tls_context_messages_per_s(const struct tls_context *context)
{
    return context->messages_per_s;
}

const struct tls_tickets *tls_context_tickets(const struct tls_context *context)
{
    return context->tickets;
}

/* The certificate must be for this name or IP; SNI carries names alone (RFC 6066 §3). */
static bool expect_name(SSL *ssl, struct slice server_name)
{
    char name[NAME_MAX_BYTES + 1];
    unsigned char ip[16];

    if (server_name.len > NAME_MAX_BYTES || memchr(server_name.ptr, 0, server_name.len) != NULL)
        return false;
    slice_to_string(server_name, name, sizeof(name));
    if (inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

struct ssl_st *tls_context_session(struct tls_context *context, struct slice server_name)
{
    SSL *ssl = SSL_new(context->certificates[0].ctx);

    if (ssl == NULL)
        return NULL;
    if (context->is_server) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_set_connect_state(ssl);
    if (server_name.len > 0 && !expect_name(ssl, server_name)) {
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}
