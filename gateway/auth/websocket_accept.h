/* auth/websocket_accept.h — the one digest of the WebSocket handshake (RFC 6455 §4.2.2): it proves
 * that the answer belongs to this upgrade, nothing more. */
#pragma once

#include "base/ensure.h"
#include "base/slice.h"

enum { WEBSOCKET_ACCEPT_BYTES = 28, WEBSOCKET_KEY_BYTES = 24 };

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key. `key` may be any text. False: OpenSSL has no memory
 * for a digest. */
MUST_CHECK bool websocket_accept_of(struct slice key, char out_accept[WEBSOCKET_ACCEPT_BYTES]);

/* A fresh Sec-WebSocket-Key: 16 random bytes in base64. */
void websocket_key_make(char out_key[WEBSOCKET_KEY_BYTES]);
