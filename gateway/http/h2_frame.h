/* http/h2_frame.h — the numbers of RFC 9113 (§4, §6, §7) and the head of a frame. Private to this folder. */
#pragma once

#include "base/slice.h"

enum {
    H2_FRAME_DATA_BYTES = 16384, /* SETTINGS_MAX_FRAME_SIZE: the initial value, both ways */
    H2_FRAME_HEAD_BYTES = 9,
    H2_WINDOW_INITIAL = 65535,
    H2_CODE_BYTES = 4, /* RST_STREAM, WINDOW_UPDATE */
    H2_PING_BYTES = 8,
    H2_PRIORITY_BYTES = 5,
    H2_SETTING_BYTES = 6,
    H2_GOAWAY_BYTES = 8,
};

#define H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

enum h2_frame_type {
    H2_DATA,
    H2_HEADERS,
    H2_PRIORITY,
    H2_RST_STREAM,
    H2_SETTINGS,
    H2_PUSH_PROMISE,
    H2_PING,
    H2_GOAWAY,
    H2_WINDOW_UPDATE,
    H2_CONTINUATION
};

enum {
    H2_FLAG_ACK = 0x01,
    H2_FLAG_END_STREAM = 0x01,
    H2_FLAG_END_HEADERS = 0x04,
    H2_FLAG_PADDED = 0x08,
    H2_FLAG_PRIORITY = 0x20
};

enum h2_error {
    H2_NO_ERROR,
    H2_PROTOCOL_ERROR,
    H2_INTERNAL_ERROR,
    H2_FLOW_CONTROL_ERROR,
    H2_SETTINGS_TIMEOUT,
    H2_STREAM_CLOSED,
    H2_FRAME_SIZE_ERROR,
    H2_REFUSED_STREAM,
    H2_CANCEL,
    H2_COMPRESSION_ERROR,
    H2_CONNECT_ERROR,
    H2_ENHANCE_YOUR_CALM
};

enum h2_setting_id {
    H2_SETTING_HEADER_TABLE_SIZE = 1,
    H2_SETTING_ENABLE_PUSH,
    H2_SETTING_MAX_CONCURRENT_STREAMS,
    H2_SETTING_INITIAL_WINDOW_SIZE,
    H2_SETTING_MAX_FRAME_SIZE,
    H2_SETTING_MAX_HEADER_LIST_SIZE,
    H2_SETTING_ENABLE_CONNECT_PROTOCOL = 8, /* RFC 8441 */
    H2_SETTING_NO_RFC7540_PRIORITIES = 9    /* RFC 9218 */
};

struct h2_setting {
    uint16_t id;
    uint32_t value;
};

struct h2_frame_head {
    uint32_t length; /* of the payload */
    uint8_t type;
    uint8_t flags;
    int32_t stream;
};

static inline uint32_t h2_read_u32(const char *bytes)
{
    uint32_t number;

    memcpy(&number, bytes, sizeof(number));
    return __builtin_bswap32(number);
}

static inline void h2_write_u32(char *bytes, uint32_t number)
{
    number = __builtin_bswap32(number);
    memcpy(bytes, &number, sizeof(number));
}

/* 31 bits: stream ids and window increments; the reserved bit is ignored. */
static inline int32_t h2_read_u31(const char *bytes)
{
    return (int32_t)(h2_read_u32(bytes) & INT32_MAX);
}

static inline struct h2_frame_head h2_frame_head_read(const char *bytes)
{
    return (struct h2_frame_head){ .length = h2_read_u32(bytes) >> 8,
                                   .type = (uint8_t)bytes[3],
                                   .flags = (uint8_t)bytes[4],
                                   .stream = h2_read_u31(bytes + 5) };
}

static inline void h2_frame_head_write(char *bytes, struct h2_frame_head head)
{
    h2_write_u32(bytes, head.length << 8 | head.type);
    bytes[4] = (char)head.flags;
    h2_write_u32(bytes + 5, (uint32_t)head.stream);
}
