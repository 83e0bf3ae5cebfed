/* auth/websocket_accept.c — see websocket_accept.h. */
#include "auth/websocket_accept.h"

#include <openssl/evp.h>
#include <sys/random.h>

#include "base/base64.h"

enum { NONCE_BYTES = 16, SHA1_BYTES = 20 };

static void put_base64(struct slice bytes, char *out, size_t out_bytes)
{
    struct buf text = { 0 };

    base64_encode(bytes, &text);
    ENSURE(text.len == out_bytes);
    memcpy(out, buf_slice(&text).ptr, out_bytes);
    buf_deinit(&text);
}

bool websocket_accept_of(struct slice key, char out_accept[WEBSOCKET_ACCEPT_BYTES])
{
    struct buf text = { 0 };
    unsigned char digest[SHA1_BYTES];

    buf_append(&text, key);
    buf_append(&text, SLICE("258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    bool is_done = EVP_Digest(buf_slice(&text).ptr, text.len, digest, NULL, EVP_sha1(), NULL) == 1;

    buf_deinit(&text);
    if (is_done)
        put_base64(slice_of(digest, sizeof(digest)), out_accept, WEBSOCKET_ACCEPT_BYTES);
    return is_done;
}

void websocket_key_make(char out_key[WEBSOCKET_KEY_BYTES])
{
    char nonce[NONCE_BYTES];

    ENSURE(getrandom(nonce, sizeof(nonce), 0) == (ssize_t)sizeof(nonce));
    put_base64(slice_of(nonce, sizeof(nonce)), out_key, WEBSOCKET_KEY_BYTES);
}
