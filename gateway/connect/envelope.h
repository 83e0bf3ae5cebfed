/* connect/envelope.h — the framing of Connect streams (and of gRPC): one flag byte, four bytes of big-endian length, the
 * message. A reader that takes bytes as they come, a writer for whole messages. */
#pragma once

#include "base/buf.h"
#include "base/status.h"

enum { ENVELOPE_HEAD_BYTES = 5, ENVELOPE_COMPRESSED = 0x01, ENVELOPE_END_STREAM = 0x02 };

/* Appends one envelope. `message` may not be longer than 4 GiB - 1. */
void envelope_append(struct buf *buf, uint8_t flags, struct slice message);

struct envelope_reader {
    struct buf held;      /* the envelope that is not whole yet */
    size_t message_bytes; /* longest message that is taken */
    bool ended;           /* END_STREAM was seen */
};

void envelope_reader_init(struct envelope_reader *reader, size_t message_bytes);
void envelope_reader_deinit(struct envelope_reader *reader);

/* Calls `on_message` for every envelope that `bytes` completes; `message` is borrowed until it returns. Stops at the first
 * status that is not OK and returns it. Errors of its own: BODY_TOO_LARGE (as soon as the head says so), MALFORMED (bytes
 * after END_STREAM, unknown flags). */
typedef enum status envelope_fn(void *arg, uint8_t flags, struct slice message);
MUST_CHECK enum status envelope_reader_feed(struct envelope_reader *reader, struct slice bytes,
                                            envelope_fn *on_message, void *arg);

/* May the stream end here (no part of an envelope is held)? */
bool envelope_reader_is_at_edge(const struct envelope_reader *reader);

/* Appends an END_STREAM envelope: {} for CONNECT_OK, else {"error":{"code","message"}}; `details` (may be empty) is a
 * ready JSON array for "details". */
void envelope_append_end(struct buf *buf, const char *code_text, struct slice message,
                         struct slice details_json);
