/* net/tls_context_internal.h — what conn_tls.c needs of a context, and the parts of a context that have files of their
 * own. */
#pragma once

#include "net/tls_context.h"

struct ssl_st;
struct ssl_ctx_st;
struct tls_tickets;

/* Returns owned (SSL_free); NULL when OpenSSL cannot. `server_name` (client side): SNI, and what the certificate must
 * carry; empty: the chain alone is verified. The context must outlive the session. */
struct ssl_st *tls_context_session(struct tls_context *context, struct slice server_name);
bool tls_context_is_server(const struct tls_context *context);

/* Handshake messages that a peer may send in a second once the handshake is over. */
unsigned tls_context_messages_per_s(const struct tls_context *context);

/* The ticket keys of an SSL_CTX's owner; NULL: the random keys of the process. */
const struct tls_tickets *tls_context_tickets(const struct tls_context *context);

/* Keys of 80 bytes (name 16, HMAC-SHA256 32, AES-256 32) or of 48 (name 16, AES-128 16, HMAC-SHA256 16), as nginx has
 * them, one after the other; a size that fits both is read as the former. The first encrypts, all decrypt. */
MUST_CHECK enum status tls_tickets_load(const char *file, struct buf *out_error,
                                        struct tls_tickets **out_tickets);
void tls_tickets_destroy(struct tls_tickets **tickets); /* wipes them */

/* `ctx` carries its struct tls_context as app data. */
void tls_tickets_install(struct ssl_ctx_st *ctx);
