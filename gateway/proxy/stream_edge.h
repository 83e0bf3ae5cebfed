/* proxy/stream_edge.h — where in a stream of envelopes (Connect, gRPC, gRPC-Web: one flag byte,
 * four of length, message) or of WebSocket frames (RFC 6455 §5.2) the bytes that passed have come
 * to: a counter, never a copy. */
#pragma once

#include "base/slice.h"

enum { STREAM_EDGE_LAST_BYTES = 64 };

struct stream_edge {
    uint64_t left_bytes;               /* of the message that is passing */
    char last[STREAM_EDGE_LAST_BYTES]; /* the beginning of the last envelope's message */
    uint8_t last_len;
    uint8_t head[14];
    uint8_t head_len;   /* bytes of the next envelope's head that have come */
    uint8_t end_flags;  /* flags that mark the last envelope: 0x02 Connect, 0x80 gRPC-Web */
    bool is_last;       /* the envelope that is passing is the last */
    bool is_compressed; /* so is its message: nothing of it is kept */
    bool saw_end;       /* the last envelope, or a close frame, has passed whole */
    bool is_websocket;
};

void stream_edge_init(struct stream_edge *edge, uint8_t end_flags);
void stream_edge_init_websocket(struct stream_edge *edge);
void stream_edge_pass(struct stream_edge *edge, struct slice bytes);

/* Passes bytes up to the first edge behind at least one byte; returns how many. All of them: maybe
 * no edge was met. */
size_t stream_edge_pass_to_edge(struct stream_edge *edge, struct slice bytes);

/* Keeps the first bytes of a body that is no stream as if it were a last message. */
void stream_edge_keep(struct stream_edge *edge, struct slice bytes);

/* What was kept; borrowed. */
static inline struct slice stream_edge_last(const struct stream_edge *edge)
{
    return slice_of(edge->last, edge->last_len);
}

/* No envelope is cut here. */
static inline bool stream_edge_is_at(const struct stream_edge *edge)
{
    return edge->left_bytes == 0 && edge->head_len == 0;
}
