/* proxy/websocket_edge.h — where in an app's stream of WebSocket frames (RFC 6455 §5.2) the bytes that
 * passed have come to, so that the gateway can end it with a Close frame between two of them. Nothing
 * but lengths is read. */
#pragma once

#include "base/buf.h"
#include "base/status.h"

struct websocket_edge {
    uint64_t left_bytes; /* of the frame that is passing */
    uint8_t head[14];
    uint8_t head_len; /* bytes of the next frame's head that have come */
    bool saw_close;   /* the app has said its last word */
    bool is_lost;     /* the frames make no sense: no edge is known any more */
};

void websocket_edge_pass(struct websocket_edge *edge, struct slice bytes);

/* No frame is cut here, and one more may follow. */
static inline bool websocket_edge_is_open(const struct websocket_edge *edge)
{
    return edge->left_bytes == 0 && edge->head_len == 0 && !edge->saw_close && !edge->is_lost;
}

/* Appends the server's Close frame for what the gateway ends by itself: 1001 going away, 1008 policy.
 * False: such an end is not the gateway's. */
MUST_CHECK bool websocket_append_close(struct buf *into, enum status status, const char *reason);
