/* http/h2_message.h — which fields make a well-formed message (RFC 9113 §8.1 to §8.5). What breaks this
 * is a stream error of the peer; what the house refuses beyond it gets an answer (h2_headers.c).
 * Private to this folder. */
#pragma once

#include "http/h2_session.h"

enum h2_field_rule {
    H2_FIELD_KEEP,
    H2_FIELD_DROP, /* means nothing here: content-length of 204 and of CONNECT */
    H2_FIELD_MALFORMED
};

/* Before the field is kept: stream->collecting has those before it. */
enum h2_field_rule h2_field_rule(struct h2_stream *stream, const struct hpack_field *field);

/* The block is whole. False: malformed. Sets stream->promised_bytes of a final head. */
bool h2_message_complete(struct h2_stream *stream, bool end_stream);
