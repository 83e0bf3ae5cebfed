/* http/hpack_table.c — see hpack_table.h. Entries rest in a ring, their text in one piece that is moved to
 * its front when the end is reached: at most once per table's worth of text. */
#include "http/hpack_table.h"

#include "base/mem.h"

enum { ENTRIES_FIRST = 8, TEXT_FIRST_BYTES = 512 };

/* RFC 7541 Appendix A; names by the ids that the house has for them. */
#define PSEUDO(name_id, text, text_value)                                                          \
    {                                                                                              \
        .name = { .ptr = text, .len = sizeof(text) - 1 },                                          \
        .value = { .ptr = text_value, .len = sizeof(text_value) - 1 }, .id = (name_id)             \
    }
#define NAMED(name_id, text) PSEUDO(name_id, text, "")

const struct hpack_static hpack_static[HPACK_STATIC_COUNT + 1] = {
    [1] = PSEUDO(HPACK_AUTHORITY, ":authority", ""),
    [2] = PSEUDO(HPACK_METHOD, ":method", "GET"),
    [3] = PSEUDO(HPACK_METHOD, ":method", "POST"),
    [4] = PSEUDO(HPACK_PATH, ":path", "/"),
    [5] = PSEUDO(HPACK_PATH, ":path", "/index.html"),
    [6] = PSEUDO(HPACK_SCHEME, ":scheme", "http"),
    [7] = PSEUDO(HPACK_SCHEME, ":scheme", "https"),
    [8] = PSEUDO(HPACK_STATUS, ":status", "200"),
    [9] = PSEUDO(HPACK_STATUS, ":status", "204"),
    [10] = PSEUDO(HPACK_STATUS, ":status", "206"),
    [11] = PSEUDO(HPACK_STATUS, ":status", "304"),
    [12] = PSEUDO(HPACK_STATUS, ":status", "400"),
    [13] = PSEUDO(HPACK_STATUS, ":status", "404"),
    [14] = PSEUDO(HPACK_STATUS, ":status", "500"),
    [15] = NAMED(FIELD_OTHER, "accept-charset"),
    [16] = PSEUDO(FIELD_ACCEPT_ENCODING, "accept-encoding", "gzip, deflate"),
    [17] = NAMED(FIELD_OTHER, "accept-language"),
    [18] = NAMED(FIELD_OTHER, "accept-ranges"),
    [19] = NAMED(FIELD_ACCEPT, "accept"),
    [20] = NAMED(FIELD_OTHER, "access-control-allow-origin"),
    [21] = NAMED(FIELD_OTHER, "age"),
    [22] = NAMED(FIELD_OTHER, "allow"),
    [23] = NAMED(FIELD_AUTHORIZATION, "authorization"),
    [24] = NAMED(FIELD_OTHER, "cache-control"),
    [25] = NAMED(FIELD_OTHER, "content-disposition"),
    [26] = NAMED(FIELD_CONTENT_ENCODING, "content-encoding"),
    [27] = NAMED(FIELD_OTHER, "content-language"),
    [28] = NAMED(FIELD_CONTENT_LENGTH, "content-length"),
    [29] = NAMED(FIELD_OTHER, "content-location"),
    [30] = NAMED(FIELD_OTHER, "content-range"),
    [31] = NAMED(FIELD_CONTENT_TYPE, "content-type"),
    [32] = NAMED(FIELD_COOKIE, "cookie"),
    [33] = NAMED(FIELD_DATE, "date"),
    [34] = NAMED(FIELD_OTHER, "etag"),
    [35] = NAMED(FIELD_EXPECT, "expect"),
    [36] = NAMED(FIELD_OTHER, "expires"),
    [37] = NAMED(FIELD_OTHER, "from"),
    [38] = NAMED(FIELD_HOST, "host"),
    [39] = NAMED(FIELD_OTHER, "if-match"),
    [40] = NAMED(FIELD_OTHER, "if-modified-since"),
    [41] = NAMED(FIELD_OTHER, "if-none-match"),
    [42] = NAMED(FIELD_OTHER, "if-range"),
    [43] = NAMED(FIELD_OTHER, "if-unmodified-since"),
    [44] = NAMED(FIELD_OTHER, "last-modified"),
    [45] = NAMED(FIELD_OTHER, "link"),
    [46] = NAMED(FIELD_LOCATION, "location"),
    [47] = NAMED(FIELD_OTHER, "max-forwards"),
    [48] = NAMED(FIELD_OTHER, "proxy-authenticate"),
    [49] = NAMED(FIELD_OTHER, "proxy-authorization"),
    [50] = NAMED(FIELD_OTHER, "range"),
    [51] = NAMED(FIELD_REFERER, "referer"),
    [52] = NAMED(FIELD_OTHER, "refresh"),
    [53] = NAMED(FIELD_OTHER, "retry-after"),
    [54] = NAMED(FIELD_SERVER, "server"),
    [55] = NAMED(FIELD_SET_COOKIE, "set-cookie"),
    [56] = NAMED(FIELD_OTHER, "strict-transport-security"),
    [57] = NAMED(FIELD_TRANSFER_ENCODING, "transfer-encoding"),
    [58] = NAMED(FIELD_USER_AGENT, "user-agent"),
    [59] = NAMED(FIELD_OTHER, "vary"),
    [60] = NAMED(FIELD_OTHER, "via"),
    [61] = NAMED(FIELD_WWW_AUTHENTICATE, "www-authenticate"),
};

static unsigned pseudo_id(struct slice name)
{
    static const struct {
        struct slice name;
        unsigned id;
    } names[] = {
        { { ":path", 5 }, HPACK_PATH },     { { ":method", 7 }, HPACK_METHOD },
        { { ":scheme", 7 }, HPACK_SCHEME }, { { ":authority", 10 }, HPACK_AUTHORITY },
        { { ":status", 7 }, HPACK_STATUS }, { { ":protocol", 9 }, HPACK_PROTOCOL },
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_equal(names[i].name, name))
            return names[i].id;
    return HPACK_PSEUDO_UNKNOWN;
}

unsigned hpack_name_id(struct slice name)
{
    return name.len > 0 && name.ptr[0] == ':' ? pseudo_id(name) : field_id_of(name);
}

void hpack_table_init(struct hpack_table *table)
{
    *table = (struct hpack_table){ .limit_bytes = HPACK_TABLE_BYTES };
}

void hpack_table_deinit(struct hpack_table *table)
{
    mem_give(table->entries, table->capacity * sizeof(*table->entries));
    mem_give(table->text, table->text_capacity);
    *table = (struct hpack_table){ 0 };
}

static uint32_t size_of(uint32_t name_len, uint32_t value_len)
{
    return name_len + value_len + HPACK_ENTRY_OVERHEAD_BYTES;
}

static void evict_to(struct hpack_table *table, uint32_t size_bytes)
{
    while (table->size_bytes > size_bytes) {
        const struct hpack_entry *oldest =
            hpack_table_entry(table, table->inserted - table->count + 1);

        table->size_bytes -= size_of(oldest->name_len, oldest->value_len);
        table->count--;
    }
}

void hpack_table_set_limit(struct hpack_table *table, uint32_t limit_bytes)
{
    table->limit_bytes = limit_bytes;
    evict_to(table, limit_bytes);
}

static void make_room_for_entry(struct hpack_table *table)
{
    if (table->count < table->capacity)
        return;
    uint32_t capacity = table->capacity > 0 ? table->capacity * 2 : ENTRIES_FIRST;
    struct hpack_entry *entries = mem_take(capacity * sizeof(*entries));

    for (uint32_t i = 0; i < table->count; i++) {
        uint32_t number = table->inserted - i;

        entries[number & (capacity - 1)] = *hpack_table_entry(table, number);
    }
    mem_give(table->entries, table->capacity * sizeof(*entries));
    table->entries = entries;
    table->capacity = capacity;
}

/* Afterwards `size_bytes` fit behind the newest entry. */
static void make_room_for_text(struct hpack_table *table, uint32_t size_bytes)
{
    if (table->text != NULL &&
        table->text_end - table->text_at + size_bytes <= table->text_capacity)
        return;
    uint32_t from = table->count > 0
                        ? hpack_table_entry(table, table->inserted - table->count + 1)->at
                        : table->text_end;
    uint32_t live_bytes = table->text_end - from;
    uint32_t capacity = table->text_capacity > 0 ? table->text_capacity : TEXT_FIRST_BYTES;
    char *text = table->text;

    while (capacity < 2 * (live_bytes + size_bytes) && capacity < 2 * HPACK_TABLE_BYTES)
        capacity *= 2;
    if (text == NULL || capacity != table->text_capacity)
        text = mem_take(capacity);
    if (live_bytes > 0) {
        ENSURE(table->text != NULL);
        memmove(text, table->text + (from - table->text_at), live_bytes);
    }
    if (text != table->text)
        mem_give(table->text, table->text_capacity);
    table->text = text;
    table->text_capacity = capacity;
    table->text_at = from;
}

bool hpack_table_insert(struct hpack_table *table, const struct hpack_field *field, uint32_t older)
{
    size_t text_bytes = field->name.len + field->value.len;

    if (text_bytes + HPACK_ENTRY_OVERHEAD_BYTES > table->limit_bytes) {
        evict_to(table, 0);
        return false;
    }
    uint32_t name_len = (uint32_t)field->name.len, value_len = (uint32_t)field->value.len;

    evict_to(table, table->limit_bytes - size_of(name_len, value_len));
    make_room_for_entry(table);
    make_room_for_text(table, name_len + value_len);
    char *at = table->text + (table->text_end - table->text_at);
    memcpy(at, field->name.ptr, name_len);
    memcpy(at + name_len, field->value.ptr, value_len);
    *hpack_table_entry(table, ++table->inserted) = (struct hpack_entry){
        .at = table->text_end,
        .name_len = name_len,
        .value_len = value_len,
        .older = older,
        .id = (unsigned char)field->id,
        .is_name_valid = field->is_name_valid,
        .is_value_valid = field->is_value_valid,
    };
    table->count++;
    table->text_end += name_len + value_len;
    table->size_bytes += size_of(name_len, value_len);
    return true;
}
