/* http/hpack_encode.c — fields to header blocks (RFC 7541 §6). What the house knows by number is found by
 * number: the newest entry of each name is remembered, and leads to the older ones. */
#include "http/hpack_table.h"

enum {
    STEPS_MAX = 12,           /* along the entries of one name */
    INDEXED_BYTES_MAX = 1024, /* a longer field would push out too much */
};

/* The first index of each id in the static table; filled before main(). */
static unsigned char static_index[HPACK_NAME_COUNT];

__attribute__((constructor)) static void fill_static_index(void)
{
    for (unsigned index = HPACK_STATIC_COUNT; index > 0; index--)
        static_index[hpack_static[index].id] = (unsigned char)index;
    static_index[FIELD_OTHER] = 0; /* many names */
}

void hpack_encoder_init(struct hpack_encoder *encoder)
{
    *encoder = (struct hpack_encoder){ .smallest_limit = HPACK_TABLE_BYTES };
    hpack_table_init(&encoder->table);
}

void hpack_encoder_deinit(struct hpack_encoder *encoder)
{
    hpack_table_deinit(&encoder->table);
}

void hpack_encoder_limit(struct hpack_encoder *encoder, uint32_t limit_bytes)
{
    if (limit_bytes > HPACK_TABLE_BYTES)
        limit_bytes = HPACK_TABLE_BYTES;
    if (limit_bytes == encoder->table.limit_bytes)
        return;
    hpack_table_set_limit(&encoder->table, limit_bytes);
    if (!encoder->limit_changed || limit_bytes < encoder->smallest_limit)
        encoder->smallest_limit = limit_bytes;
    encoder->limit_changed = true;
}

/* §5.1 */
static char *write_number(char *out, unsigned char pattern, unsigned prefix_bits, size_t number)
{
    size_t mask = (1u << prefix_bits) - 1;

    if (number < mask) {
        *out++ = (char)(pattern | number);
        return out;
    }
    *out++ = (char)(pattern | mask);
    for (number -= mask; number >= 0x80; number >>= 7)
        *out++ = (char)(number | 0x80);
    *out++ = (char)number;
    return out;
}

static char *write_string(char *out, struct slice text)
{
    out = write_number(out, 0, 7, text.len);
    if (text.len > 0)
        memcpy(out, text.ptr, text.len);
    return out + text.len;
}

char *hpack_begin(struct hpack_encoder *encoder, char *out)
{
    if (!encoder->limit_changed)
        return out;
    encoder->limit_changed = false;
    if (encoder->smallest_limit < encoder->table.limit_bytes)
        out = write_number(out, 0x20, 5, encoder->smallest_limit);
    return write_number(out, 0x20, 5, encoder->table.limit_bytes);
}

/* What the tables know of a field. */
struct match {
    uint32_t field; /* index of name and value; 0: none */
    uint32_t name;  /* index of the name alone */
};

static struct match find_static(unsigned id, struct slice name, struct slice value)
{
    struct match match = { .name = static_index[id] };

    if (id == FIELD_OTHER) {
        for (uint32_t index = 1; index <= HPACK_STATIC_COUNT; index++)
            if (hpack_static[index].id == FIELD_OTHER &&
                slice_equal(hpack_static[index].name, name))
                return (struct match){ .name = index };
        return match;
    }
    if (match.name == 0)
        return match;
    for (uint32_t index = match.name; index <= HPACK_STATIC_COUNT && hpack_static[index].id == id;
         index++)
        if (slice_equal(hpack_static[index].value, value))
            match.field = index;
    return match;
}

static struct match find_dynamic(const struct hpack_encoder *encoder, unsigned id,
                                 struct slice name, struct slice value)
{
    const struct hpack_table *table = &encoder->table;
    struct match match = { 0 };
    uint32_t number = encoder->newest[id];

    for (unsigned step = 0; step < STEPS_MAX && hpack_table_has(table, number); step++) {
        const struct hpack_entry *entry = hpack_table_entry(table, number);
        uint32_t index = HPACK_STATIC_COUNT + 1 + (table->inserted - number);

        if (id != FIELD_OTHER || slice_equal(hpack_entry_name(table, entry), name)) {
            if (match.name == 0)
                match.name = index;
            if (slice_equal(hpack_entry_value(table, entry), value)) {
                match.field = index;
                return match;
            }
        }
        number = entry->older;
    }
    return match;
}

static char *write_literal(char *out, unsigned char pattern, unsigned prefix_bits,
                           uint32_t name_index, struct slice name, struct slice value)
{
    out = write_number(out, pattern, prefix_bits, name_index);
    if (name_index == 0)
        out = write_string(out, name);
    return write_string(out, value);
}

char *hpack_encode(struct hpack_encoder *encoder, char *out, unsigned id, struct slice name,
                   struct slice value, enum hpack_policy policy)
{
    struct match dynamic = find_dynamic(encoder, id, name, value);

    if (dynamic.field != 0 && policy == HPACK_INDEX)
        return write_number(out, 0x80, 7, dynamic.field);
    struct match fixed = find_static(id, name, value);
    if (fixed.field != 0 && policy == HPACK_INDEX)
        return write_number(out, 0x80, 7, fixed.field);

    uint32_t name_index = fixed.name != 0 ? fixed.name : dynamic.name;
    if (policy == HPACK_NEVER_INDEXED)
        return write_literal(out, 0x10, 4, name_index, name, value);
    if (policy == HPACK_LITERAL || name.len + value.len > INDEXED_BYTES_MAX ||
        name.len + value.len + HPACK_ENTRY_OVERHEAD_BYTES > encoder->table.limit_bytes)
        return write_literal(out, 0x00, 4, name_index, name, value);
    struct hpack_field field = { .name = name, .value = value, .id = id };
    out = write_literal(out, 0x40, 6, name_index, name, value);
    hpack_table_insert(&encoder->table, &field, encoder->newest[id]);
    encoder->newest[id] = encoder->table.inserted;
    return out;
}
