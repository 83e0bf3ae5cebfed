/* http/hpack_decode.c — header blocks to fields (RFC 7541 §3, §6). Text that is not Huffman-coded is used
 * where it lies; what a table holds was checked when it came. */
#include "http/hpack_table.h"

#include "base/mem.h"
#include "http/huffman.h"

_Static_assert(HPACK_NAME_COUNT <= 255, "an entry keeps the id in a byte");

enum { LOCAL_BYTES = 2048, NUMBER_BITS_MAX = 28 };

/* Where one coded string goes; on the heap only when it is long. */
struct string_room {
    char *heap;
    size_t heap_bytes;
    char local[LOCAL_BYTES];
};

struct block_reader {
    struct hpack_decoder *decoder;
    const unsigned char *next;
    const unsigned char *end;
};

void hpack_decoder_init(struct hpack_decoder *decoder)
{
    hpack_table_init(&decoder->table);
}

void hpack_decoder_deinit(struct hpack_decoder *decoder)
{
    hpack_table_deinit(&decoder->table);
}

/* §5.1. Larger than any index or length that can be right: malformed. */
static bool read_number(struct block_reader *in, unsigned prefix_bits, uint32_t *out_number)
{
    uint32_t mask = (1u << prefix_bits) - 1;
    uint32_t number = *in->next++ & mask;

    if (number == mask) {
        for (unsigned shift = 0;; shift += 7) {
            if (in->next == in->end || shift >= NUMBER_BITS_MAX)
                return false;
            unsigned char byte = *in->next++;
            number += (uint32_t)(byte & 0x7f) << shift;
            if ((byte & 0x80) == 0)
                break;
        }
    }
    *out_number = number;
    return true;
}

static char *room_for(struct string_room *room, size_t size_bytes)
{
    if (size_bytes <= LOCAL_BYTES)
        return room->local;
    room->heap_bytes = size_bytes;
    room->heap = mem_take(size_bytes);
    return room->heap;
}

static void room_deinit(struct string_room *room)
{
    if (room->heap != NULL)
        mem_give(room->heap, room->heap_bytes);
}

/* §5.2 */
static bool read_string(struct block_reader *in, struct string_room *room, struct slice *out)
{
    uint32_t length;

    if (in->next == in->end)
        return false;
    bool is_coded = (*in->next & 0x80) != 0;
    if (!read_number(in, 7, &length) || length > (size_t)(in->end - in->next))
        return false;
    struct slice text = slice_of(in->next, length);
    in->next += length;
    if (is_coded) {
        char *into = room_for(room, huffman_room(length));
        size_t size;

        if (!huffman_decode(text, into, &size))
            return false;
        text = slice_of(into, size);
    }
    *out = text;
    return true;
}

/* Name, and value too, of an index; false: there is none. */
static bool look_up(const struct hpack_table *table, uint32_t index, struct hpack_field *out)
{
    if (index == 0)
        return false;
    if (index <= HPACK_STATIC_COUNT) {
        const struct hpack_static *entry = &hpack_static[index];

        *out = (struct hpack_field){ entry->name, entry->value, entry->id, true, true };
        return true;
    }
    uint32_t number = table->inserted - (index - HPACK_STATIC_COUNT - 1);
    if (!hpack_table_has(table, number))
        return false;
    const struct hpack_entry *entry = hpack_table_entry(table, number);
    *out = (struct hpack_field){ hpack_entry_name(table, entry), hpack_entry_value(table, entry),
                                 entry->id, entry->is_name_valid, entry->is_value_valid };
    return true;
}

static bool is_lower_token(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];

        if (c == 0 || token_lower_case[c] != c)
            return false;
    }
    return name.len > 0;
}

static bool read_name(struct block_reader *in, struct string_room *room, struct hpack_field *out)
{
    if (!read_string(in, room, &out->name))
        return false;
    out->id = hpack_name_id(out->name);
    out->is_name_valid = out->id != FIELD_OTHER || is_lower_token(out->name);
    return true;
}

/* A literal (§6.2): its name by index or as text, its value as text. */
static bool read_literal(struct block_reader *in, unsigned prefix_bits, bool is_indexed,
                         struct string_room *rooms, struct hpack_field *out)
{
    struct hpack_table *table = &in->decoder->table;
    uint32_t index;

    if (!read_number(in, prefix_bits, &index))
        return false;
    if (index == 0 ? !read_name(in, &rooms[0], out) : !look_up(table, index, out))
        return false;
    if (!read_string(in, &rooms[1], &out->value))
        return false;
    out->is_value_valid = is_field_value(out->value);
    if (!is_indexed)
        return true;
    if (index > HPACK_STATIC_COUNT) { /* its entry may be evicted, or moved, by this one */
        char *name = room_for(&rooms[0], out->name.len);

        memcpy(name, out->name.ptr, out->name.len);
        out->name.ptr = name;
    }
    hpack_table_insert(table, out, 0);
    return true;
}

static bool read_field(struct block_reader *in, struct string_room *rooms, struct hpack_field *out)
{
    unsigned char byte = *in->next;
    uint32_t index;

    if ((byte & 0x80) != 0) /* §6.1 */
        return read_number(in, 7, &index) && look_up(&in->decoder->table, index, out);
    if ((byte & 0x40) != 0)
        return read_literal(in, 6, true, rooms, out);
    return read_literal(in, 4, false, rooms, out);
}

/* §6.3: before the first field only. */
static bool read_size_updates(struct block_reader *in)
{
    uint32_t limit_bytes;

    while (in->next < in->end && (*in->next & 0xe0) == 0x20) {
        if (!read_number(in, 5, &limit_bytes) || limit_bytes > HPACK_TABLE_BYTES)
            return false;
        hpack_table_set_limit(&in->decoder->table, limit_bytes);
    }
    return true;
}

enum status hpack_decode(struct hpack_decoder *decoder, struct slice block,
                         hpack_field_fn *on_field, void *arg)
{
    struct block_reader in = { .decoder = decoder, .next = (const unsigned char *)block.ptr };
    bool is_right, goes_on = true;

    in.end = in.next + block.len;
    is_right = read_size_updates(&in);
    while (is_right && goes_on && in.next < in.end) {
        struct string_room rooms[2];
        struct hpack_field field;

        rooms[0].heap = rooms[1].heap = NULL;
        rooms[0].heap_bytes = rooms[1].heap_bytes = 0;
        is_right = (*in.next & 0xe0) != 0x20 && read_field(&in, rooms, &field);
        if (is_right)
            goes_on = on_field(arg, &field);
        room_deinit(&rooms[0]);
        room_deinit(&rooms[1]);
    }
    return is_right ? STATUS_OK : STATUS_MALFORMED;
}
