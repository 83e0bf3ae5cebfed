/* connect/process_message_codec.h — the two codecs behind process_message.h, and what they share;
 * private to connect/. */
#pragma once

#include "connect/process_message.h"

/* Args and variables of one process, and values of one JSON message: more is refused, so that a
 * message of a few MiB cannot become hundreds. */
enum { MESSAGE_VALUE_COUNT_LIMIT = 65536 };

struct decoder {
    struct arena *arena;
    struct buf *error; /* may be NULL */
};

/* Notes why; always MALFORMED. */
enum status decoder_refuse(const struct decoder *decoder, const char *format, ...)
    PRINTF_LIKE(2, 3);

enum status json_decode_request(const struct decoder *decoder, enum process_method method,
                                struct slice message, struct process_request *request);
enum status json_decode_event(const struct decoder *decoder, struct slice message,
                              struct process_event *event);
void json_encode_event(const struct process_event *event, struct buf *into);
void json_encode_list(const struct process_info *infos, size_t count, struct buf *into);
void json_encode_start_request(const struct start_request *request, struct buf *into);

enum status proto_decode_request(const struct decoder *decoder, enum process_method method,
                                 struct slice message, struct process_request *request);
enum status proto_decode_event(const struct decoder *decoder, struct slice message,
                               struct process_event *event);
void proto_encode_event(const struct process_event *event, struct buf *into);
void proto_encode_list(const struct process_info *infos, size_t count, struct buf *into);
void proto_encode_start_request(const struct start_request *request, struct buf *into);
