/* connect/proto_wire.c — see proto_wire.h. */
#include "connect/proto_wire.h"

enum { VARINT_BYTES = 10, GROUP_DEPTH_LIMIT = 16, FIELD_NUMBER_LIMIT = (1 << 29) - 1 };

static uint64_t fail(struct wire_reader *reader)
{
    reader->failed = true;
    reader->left = SLICE_EMPTY;
    return 0;
}

static uint64_t take_varint(struct wire_reader *reader)
{
    uint64_t varint = 0;

    for (size_t i = 0; i < VARINT_BYTES && i < reader->left.len; i++) {
        uint8_t byte = (uint8_t)reader->left.ptr[i];
        if (i == VARINT_BYTES - 1 && byte > 1)
            break; /* more than 64 bits */
        varint |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            reader->left = slice_skip(reader->left, i + 1);
            return varint;
        }
    }
    return fail(reader);
}

static struct slice take_bytes(struct wire_reader *reader, uint64_t count)
{
    struct slice taken = SLICE_EMPTY;

    if (count > reader->left.len) {
        fail(reader);
        return taken;
    }
    taken = slice_first(reader->left, (size_t)count);
    reader->left = slice_skip(reader->left, (size_t)count);
    return taken;
}

/* One field with its value; a group's start and end are fields of their own here. */
static void take_field(struct wire_reader *reader, struct wire_field *field)
{
    uint64_t tag = take_varint(reader);

    *field = (struct wire_field){ .number = (uint32_t)(tag >> 3),
                                  .type = tag & 7,
                                  .bytes = SLICE_EMPTY };
    if (tag >> 3 == 0 || tag >> 3 > FIELD_NUMBER_LIMIT)
        fail(reader);
    switch (field->type) {
    case WIRE_VARINT:
        field->varint = take_varint(reader);
        break;
    case WIRE_FIXED64:
        take_bytes(reader, 8);
        break;
    case WIRE_BYTES:
        field->bytes = take_bytes(reader, take_varint(reader));
        break;
    case WIRE_FIXED32:
        take_bytes(reader, 4);
        break;
    case WIRE_GROUP_START:
    case WIRE_GROUP_END:
        break;
    default:
        fail(reader);
    }
}

/* Groups are a relic that proto3 cannot declare, but an unknown field may still be one. */
static void skip_group(struct wire_reader *reader, uint32_t number)
{
    uint32_t open[GROUP_DEPTH_LIMIT] = { number };
    size_t depth = 1;
    struct wire_field field;

    while (depth > 0 && !reader->failed) {
        take_field(reader, &field);
        if (field.type == WIRE_GROUP_END && open[depth - 1] == field.number)
            depth--;
        else if (field.type == WIRE_GROUP_START && depth < GROUP_DEPTH_LIMIT)
            open[depth++] = field.number;
        else if (field.type == WIRE_GROUP_START || field.type == WIRE_GROUP_END)
            fail(reader);
    }
}

bool wire_next(struct wire_reader *reader, struct wire_field *out_field)
{
    while (reader->left.len > 0) {
        take_field(reader, out_field);
        if (out_field->type == WIRE_GROUP_START)
            skip_group(reader, out_field->number);
        else if (out_field->type == WIRE_GROUP_END)
            fail(reader);
        if (reader->failed)
            return false;
        if (out_field->type == WIRE_VARINT || out_field->type == WIRE_BYTES)
            return true;
    }
    return false;
}

int32_t wire_zigzag_decode(uint64_t varint)
{
    uint32_t bits = (uint32_t)varint;

    return (int32_t)(bits >> 1 ^ (0 - (bits & 1)));
}

uint32_t wire_zigzag_encode(int32_t number)
{
    return (uint32_t)number << 1 ^ (number < 0 ? UINT32_MAX : 0);
}

size_t wire_varint_size(uint64_t varint)
{
    size_t size = 1;

    for (; varint >= 0x80; varint >>= 7)
        size++;
    return size;
}

size_t wire_bytes_size(size_t len)
{
    return 1 + wire_varint_size(len) + len;
}

static void put_raw_varint(struct buf *into, uint64_t varint)
{
    char *room = buf_reserve(into, VARINT_BYTES);
    size_t size = 0;

    for (; varint >= 0x80; varint >>= 7)
        room[size++] = (char)(varint | 0x80);
    room[size++] = (char)varint;
    buf_commit(into, size);
}

void wire_put_varint(struct buf *into, uint32_t field_number, uint64_t varint)
{
    put_raw_varint(into, (uint64_t)field_number << 3 | WIRE_VARINT);
    put_raw_varint(into, varint);
}

void wire_put_bytes_head(struct buf *into, uint32_t field_number, size_t len)
{
    put_raw_varint(into, (uint64_t)field_number << 3 | WIRE_BYTES);
    put_raw_varint(into, len);
}

void wire_put_bytes(struct buf *into, uint32_t field_number, struct slice bytes)
{
    wire_put_bytes_head(into, field_number, bytes.len);
    buf_append(into, bytes);
}
