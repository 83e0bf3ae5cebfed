/* bench/handshakes.c — TLS handshakes one after the other, full or resumed by one ticket; a connection counts when the server has
 * answered our close with its own, so that all of its work is done when this ends.
 *
 * usage: handshakes PORT 1.2|1.3 full|resumed COUNT      prints how many were done and how many of them resumed */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static SSL_SESSION *ticket;

static void die(const char *why)
{
    fprintf(stderr, "handshakes: %s\n", why);
    exit(1);
}

/* TLS 1.3: tickets come after the handshake; TLS 1.2: within. The last one stays. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(ticket);
    ticket = session;
    return 1;
}

static int dial(const char *port)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((unsigned short)atoi(port)) };
    struct timeval patience = { .tv_sec = 5 };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        die("cannot connect");
    return fd;
}

/* Returns whether it resumed `session`. */
static int handshake(SSL_CTX *context, const char *port, SSL_SESSION *session)
{
    SSL *ssl = SSL_new(context);
    char bytes[4096];
    int fd = dial(port), resumed, count;

    SSL_set_fd(ssl, fd);
    if (session != NULL)
        SSL_set_session(ssl, session);
    if (SSL_connect(ssl) != 1)
        die("handshake failed");
    resumed = SSL_session_reused(ssl);
    SSL_shutdown(ssl);
    shutdown(fd, SHUT_WR);
    while ((count = SSL_read(ssl, bytes, sizeof(bytes))) > 0)
        ;
    if (SSL_get_error(ssl, count) == SSL_ERROR_WANT_READ)
        die("the server does not close");
    SSL_free(ssl);
    close(fd);
    return resumed;
}

int main(int argc, char **argv)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    long resumed = 0, count = argc == 5 ? atol(argv[4]) : 0;
    SSL_SESSION *kept = NULL;

    if (argc != 5)
        return 2;
    int version = strcmp(argv[2], "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    SSL_CTX_set_session_cache_mode(context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context, on_session);
    if (strcmp(argv[3], "resumed") == 0) {
        handshake(context, argv[1], NULL);
        if (ticket == NULL)
            die("the server gave no ticket");
        kept = ticket;
        ticket = NULL; /* the same one each time: what follows it is not used */
    }
    for (long i = 0; i < count; i++) {
        /* a copy: OpenSSL resumes a TLS 1.3 session once and marks it used */
        SSL_SESSION *session = kept != NULL ? SSL_SESSION_dup(kept) : NULL;
        resumed += handshake(context, argv[1], session);
        SSL_SESSION_free(session);
    }
    printf("%ld %ld\n", count, resumed);
    return 0;
}
