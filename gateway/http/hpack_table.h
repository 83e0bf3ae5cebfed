/* http/hpack_table.h — the static and the dynamic table of HPACK (RFC 7541 §2.3), shared by reading
 * (hpack_decode.c) and writing (hpack_encode.c). Private to these. */
#pragma once

#include "http/hpack.h"

enum { HPACK_STATIC_COUNT = 61, HPACK_ENTRY_OVERHEAD_BYTES = 32 };

struct hpack_static {
    struct slice name;
    struct slice value;
    unsigned id;
};

extern const struct hpack_static hpack_static[HPACK_STATIC_COUNT + 1]; /* by index; 0 is none */

/* The number of a name: enum field_id, or enum hpack_name when it begins with a colon. */
unsigned hpack_name_id(struct slice name);

void hpack_table_init(struct hpack_table *table);
void hpack_table_deinit(struct hpack_table *table);
void hpack_table_set_limit(struct hpack_table *table, uint32_t limit_bytes);

/* Evicts and copies; the field's slices may not lie in this table. False: it is larger than the table,
 * which is empty now (§4.4). */
bool hpack_table_insert(struct hpack_table *table, const struct hpack_field *field, uint32_t older);

/* Is entry number `number` still there? */
static inline bool hpack_table_has(const struct hpack_table *table, uint32_t number)
{
    return table->inserted - number < table->count;
}

static inline struct hpack_entry *hpack_table_entry(const struct hpack_table *table,
                                                    uint32_t number)
{
    return &table->entries[number & (table->capacity - 1)];
}

static inline struct slice hpack_entry_name(const struct hpack_table *table,
                                            const struct hpack_entry *entry)
{
    return slice_of(table->text + (entry->at - table->text_at), entry->name_len);
}

static inline struct slice hpack_entry_value(const struct hpack_table *table,
                                             const struct hpack_entry *entry)
{
    return slice_of(table->text + (entry->at - table->text_at) + entry->name_len, entry->value_len);
}
