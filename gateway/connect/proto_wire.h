/* connect/proto_wire.h — the binary wire format of protocol buffers, as far as process.proto needs
 * it; private to connect/. */
#pragma once

#include "base/buf.h"
#include "base/slice.h"

enum wire_type {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_GROUP_START = 3,
    WIRE_GROUP_END = 4,
    WIRE_FIXED32 = 5
};

struct wire_field {
    uint32_t number;
    enum wire_type type; /* VARINT or BYTES; the others are skipped by wire_next */
    uint64_t varint;
    struct slice bytes; /* borrowed from the message */
};

struct wire_reader {
    struct slice left;
    bool failed; /* sticky */
};

static inline struct wire_reader wire_reader_over(struct slice message)
{
    return (struct wire_reader){ .left = message };
}

/* False at the end of the message, or when it is malformed (`failed`). */
bool wire_next(struct wire_reader *reader, struct wire_field *out_field);

int32_t wire_zigzag_decode(uint64_t varint);
uint32_t wire_zigzag_encode(int32_t number);

size_t wire_varint_size(uint64_t varint);
/* What wire_put_bytes() writes for a field below 16. */
size_t wire_bytes_size(size_t len);

void wire_put_varint(struct buf *into, uint32_t field_number, uint64_t varint);
void wire_put_bytes(struct buf *into, uint32_t field_number, struct slice bytes);
/* Only the tag and the length; the caller appends `len` bytes. */
void wire_put_bytes_head(struct buf *into, uint32_t field_number, size_t len);
