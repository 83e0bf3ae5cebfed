/* h2_peer.h — the other side of an HTTP/2 conn in tests: writes frames by hand, right or wrong, and
 * keeps every frame that it gets. Knows nothing but RFC 9113's framing, so that it can say what no
 * library would. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "base/buf.h"
#include "net/conn.h"

struct peer_frame {
    uint8_t type;
    uint8_t flags;
    int32_t stream;
    struct buf payload;
    struct buf text; /* HEADERS: "name: value\n" each */
};

struct h2_peer {
    struct conn *conn;
    nghttp2_hd_inflater *inflater;
    struct buf in;
    struct buf out;
    bool is_server;
    bool preface_seen;
    bool is_closed; /* the other side ended the conn */
    bool has_greeted;
    bool owes_ack; /* SETTINGS came before we greeted */
    bool acks_settings;
    bool acks_pings;
    bool is_deaf; /* does not read */
    struct peer_frame *frames;
    size_t count, capacity;
};

void h2_peer_init(struct h2_peer *peer, struct conn *conn, bool is_server);
void h2_peer_deinit(struct h2_peer *peer);
void h2_peer_listen(struct h2_peer *peer, bool listens);

/* Client: preface and empty SETTINGS; server: SETTINGS with MAX_CONCURRENT_STREAMS (0: left out).
 */
void h2_peer_greet(struct h2_peer *peer, uint32_t max_streams);

/* `fields` is text, "name: value\n" each, sent as literals without indexing. */
void h2_peer_headers(struct h2_peer *peer, int32_t stream, uint8_t flags, const char *fields);
void h2_peer_encode(struct buf *into, struct slice name, struct slice value);
void h2_peer_data(struct h2_peer *peer, int32_t stream, uint8_t flags, struct slice bytes);
void h2_peer_reset(struct h2_peer *peer, int32_t stream, uint32_t code);
void h2_peer_window(struct h2_peer *peer, int32_t stream, uint32_t increment);
void h2_peer_frame(struct h2_peer *peer, uint8_t type, uint8_t flags, int32_t stream,
                   struct slice payload);
void h2_peer_raw(struct h2_peer *peer, struct slice bytes);

/* The last frame of this type on this stream (-1: any), or NULL. */
const struct peer_frame *h2_peer_find(const struct h2_peer *peer, uint8_t type, int32_t stream);
size_t h2_peer_count(const struct h2_peer *peer, uint8_t type, int32_t stream);
size_t h2_peer_data_bytes(const struct h2_peer *peer, int32_t stream);
bool h2_peer_ended(const struct h2_peer *peer, int32_t stream); /* END_STREAM was received */
/* Error code of RST_STREAM, or of the last GOAWAY (stream 0); -1: none. */
int64_t h2_peer_error(const struct h2_peer *peer, int32_t stream);
int64_t h2_peer_goaway_id(const struct h2_peer *peer);
uint32_t h2_peer_u32(const struct peer_frame *frame, size_t offset);
