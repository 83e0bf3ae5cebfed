/* net/tls_tickets.c — the keys of session tickets: from a file, so that all gateways behind one
 * balancer resume each other's sessions, or random ones of this process, which all workers and all
 * contexts share, so that a reload loses no session. Random keys live for an hour as the first and
 * two more for decrypting. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/tls_context_internal.h"

enum {
    NAME_BYTES = 16,
    SHORT_KEY_BYTES = 48,
    LONG_KEY_BYTES = 80,
    FILE_KEYS_MAX = 32,
    TICKETS_PER_HANDSHAKE = 1, /* of TLS 1.3: our clients have a conn or two */
    RANDOM_KEYS = 3,
    RANDOM_KEY_LIFE_MS = 3600 * 1000
};

struct ticket_key {
    unsigned char name[NAME_BYTES];
    unsigned char mac[32];
    unsigned char aes[32];
    size_t secret_bytes; /* of `mac` and of `aes`: 16 or 32 */
};

struct tls_tickets {
    size_t count;
    struct ticket_key keys[];
};

/* Newest first. Locked, since any worker may be the one that makes the next key. */
static struct {
    pthread_mutex_t mutex;
    size_t count;
    uint64_t made_ms;
    struct ticket_key keys[RANDOM_KEYS];
} process_keys = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static void key_from_file(struct ticket_key *key, const unsigned char *bytes, size_t size_bytes)
{
    bool is_long = size_bytes == LONG_KEY_BYTES;

    memcpy(key->name, bytes, NAME_BYTES);
    key->secret_bytes = is_long ? 32 : 16;
    memcpy(is_long ? key->mac : key->aes, bytes + NAME_BYTES, key->secret_bytes);
    memcpy(is_long ? key->aes : key->mac, bytes + NAME_BYTES + key->secret_bytes,
           key->secret_bytes);
}

/* Returns the file's size, or -1 when it cannot be read or is larger than `room`. */
static ssize_t read_file(const char *file, unsigned char *into, size_t room)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    size_t have = 0;
    ssize_t count = 1;

    if (fd == -1)
        return -1;
    while (count > 0 && have < room) {
        count = read(fd, into + have, room - have);
        if (count > 0)
            have += (size_t)count;
    }
    close(fd);
    return count == -1 || have == room ? -1 : (ssize_t)have;
}

enum status tls_tickets_load(const char *file, struct buf *out_error,
                             struct tls_tickets **out_tickets)
{
    unsigned char bytes[FILE_KEYS_MAX * LONG_KEY_BYTES + 1];
    ssize_t len = read_file(file, bytes, sizeof(bytes));
    size_t key_bytes = len > 0 && len % LONG_KEY_BYTES == 0 ? LONG_KEY_BYTES : SHORT_KEY_BYTES;

    if (len <= 0 || (size_t)len % key_bytes != 0) {
        if (out_error != NULL)
            buf_printf(out_error, "%s: %s", file,
                       len < 0 ? "cannot read the ticket keys"
                               : "ticket keys are 48 or 80 bytes each, one after the other");
        mem_wipe(bytes, sizeof(bytes));
        return STATUS_CONFIG_INVALID;
    }

    size_t count = (size_t)len / key_bytes;
    struct tls_tickets *tickets = mem_zeroed(sizeof(*tickets) + count * sizeof(struct ticket_key));

    tickets->count = count;
    for (size_t i = 0; i < count; i++)
        key_from_file(&tickets->keys[i], bytes + i * key_bytes, key_bytes);
    mem_wipe(bytes, sizeof(bytes));
    *out_tickets = tickets;
    return STATUS_OK;
}

void tls_tickets_destroy(struct tls_tickets **tickets)
{
    struct tls_tickets *t = *tickets;

    if (t == NULL)
        return;
    mem_wipe(t->keys, t->count * sizeof(struct ticket_key));
    mem_free(t);
    *tickets = NULL;
}

/* Under the mutex. False when there is no randomness: then there are no tickets. */
static bool refresh_process_keys(void)
{
    struct ticket_key key = { .secret_bytes = 32 };
    struct clock clock;

    clock_refresh(&clock);
    if (process_keys.count > 0 && clock.now_ms - process_keys.made_ms < RANDOM_KEY_LIFE_MS)
        return true;
    if (RAND_bytes(key.name, sizeof(key.name)) != 1 || RAND_bytes(key.mac, sizeof(key.mac)) != 1 ||
        RAND_bytes(key.aes, sizeof(key.aes)) != 1)
        return false;
    memmove(&process_keys.keys[1], &process_keys.keys[0], (RANDOM_KEYS - 1) * sizeof(key));
    process_keys.keys[0] = key;
    process_keys.made_ms = clock.now_ms;
    if (process_keys.count < RANDOM_KEYS)
        process_keys.count++;
    mem_wipe(&key, sizeof(key));
    return true;
}

/* Copies the key of that name, or the first one for NULL. */
static bool pick_among(const struct ticket_key *keys, size_t count, const unsigned char *name,
                       struct ticket_key *out_key, bool *out_is_first)
{
    for (size_t i = 0; i < count; i++) {
        if (name == NULL || memcmp(keys[i].name, name, NAME_BYTES) == 0) {
            *out_key = keys[i];
            *out_is_first = i == 0;
            return true;
        }
    }
    return false;
}

static bool pick(const struct tls_tickets *tickets, const unsigned char *name,
                 struct ticket_key *out_key, bool *out_is_first)
{
    if (tickets != NULL)
        return pick_among(tickets->keys, tickets->count, name, out_key, out_is_first);

    pthread_mutex_lock(&process_keys.mutex);
    bool found = refresh_process_keys() &&
                 pick_among(process_keys.keys, process_keys.count, name, out_key, out_is_first);
    pthread_mutex_unlock(&process_keys.mutex);
    return found;
}

static bool set_up(struct ticket_key *key, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac, int encrypts)
{
    char digest[] = "SHA256";
    const EVP_CIPHER *aes = key->secret_bytes == 32 ? EVP_aes_256_cbc() : EVP_aes_128_cbc();
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, key->secret_bytes),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params) == 1 &&
           EVP_CipherInit_ex(cipher, aes, NULL, key->aes, iv, encrypts) == 1;
}

/* 1: go on; 2: the same, and give the client a ticket of the first key, as one of TLS 1.3 uses each
 * but once (RFC 8446 appendix C.4); 0: no such key (a full handshake follows); -1: failed. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int encrypts)
{
    const struct tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct ticket_key key;
    bool is_first;

    if (!pick(tls_context_tickets(context), encrypts ? NULL : name, &key, &is_first))
        return encrypts ? -1 : 0;
    if (encrypts) {
        memcpy(name, key.name, NAME_BYTES);
        if (RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1)
            return -1;
    }

    bool is_set_up = set_up(&key, iv, cipher, mac, encrypts);

    mem_wipe(&key, sizeof(key));
    if (!is_set_up)
        return -1;
    return encrypts || (is_first && SSL_version(ssl) < TLS1_3_VERSION) ? 1 : 2;
}

void tls_tickets_install(struct ssl_ctx_st *ctx)
{
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
    (void)SSL_CTX_set_num_tickets(ctx, TICKETS_PER_HANDSHAKE);
}
