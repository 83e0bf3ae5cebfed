/* http/message.c — see message.h. Field names are found in a small hash table that is filled before
 * main(). */
#include "http/message.h"

#include <arpa/inet.h>

enum { FIELD_SLOTS = 256, FIELDS_FIRST_CAPACITY = 16, HOST_BYTES = 255 };

static const struct slice field_names[FIELD_COUNT] = { [FIELD_OTHER] = { .ptr = "", .len = 0 },
#define X(id, text) [FIELD_##id] = { .ptr = text, .len = sizeof(text) - 1 },
                                                       FIELD_TABLE(X)
#undef X
};

const unsigned char token_lower_case[256] = {
    ['!'] = '!', ['#'] = '#', ['$'] = '$', ['%'] = '%', ['&'] = '&', ['\''] = '\'', ['*'] = '*',
    ['+'] = '+', ['-'] = '-', ['.'] = '.', ['0'] = '0', ['1'] = '1', ['2'] = '2',   ['3'] = '3',
    ['4'] = '4', ['5'] = '5', ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9',   ['A'] = 'a',
    ['B'] = 'b', ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f', ['G'] = 'g',   ['H'] = 'h',
    ['I'] = 'i', ['J'] = 'j', ['K'] = 'k', ['L'] = 'l', ['M'] = 'm', ['N'] = 'n',   ['O'] = 'o',
    ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', ['S'] = 's', ['T'] = 't', ['U'] = 'u',   ['V'] = 'v',
    ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z', ['^'] = '^', ['_'] = '_',   ['`'] = '`',
    ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e', ['f'] = 'f',   ['g'] = 'g',
    ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm',   ['n'] = 'n',
    ['o'] = 'o', ['p'] = 'p', ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't',   ['u'] = 'u',
    ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y', ['z'] = 'z', ['|'] = '|',   ['~'] = '~',
};

static unsigned char field_slots[FIELD_SLOTS];

/* Length, first, middle and last byte tell nearly all names of the table apart. */
static size_t slot_of(struct slice name)
{
    size_t hash = name.len * 7;

    hash += (unsigned char)name.ptr[0] * 31u;
    hash += (unsigned char)name.ptr[name.len / 2] * 17u;
    hash += (unsigned char)name.ptr[name.len - 1] * 5u;
    return hash % FIELD_SLOTS;
}

__attribute__((constructor)) static void fill_field_slots(void)
{
    for (unsigned id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        size_t slot = slot_of(field_names[id]);

        while (field_slots[slot] != FIELD_OTHER)
            slot = (slot + 1) % FIELD_SLOTS;
        field_slots[slot] = (unsigned char)id;
    }
}

enum field_id field_id_of(struct slice lower_name)
{
    if (lower_name.len == 0)
        return FIELD_OTHER;
    for (size_t slot = slot_of(lower_name);; slot = (slot + 1) % FIELD_SLOTS) {
        enum field_id id = field_slots[slot];

        if (id == FIELD_OTHER || slice_equal(field_names[id], lower_name))
            return id;
    }
}

struct slice field_name(enum field_id id)
{
    ENSURE(id < FIELD_COUNT);
    return field_names[id];
}

static void append(struct fields *fields, struct arena *arena, struct field field)
{
    if (fields->count == fields->capacity) {
        size_t capacity = fields->capacity > 0 ? fields->capacity * 2 : FIELDS_FIRST_CAPACITY;
        struct field *items = arena_alloc(arena, capacity * sizeof(*items));

        if (fields->count > 0)
            memcpy(items, fields->items, fields->count * sizeof(*items));
        fields->items = items;
        fields->capacity = capacity;
    }
    fields->items[fields->count++] = field;
}

void fields_add(struct fields *fields, struct arena *arena, enum field_id id, struct slice value)
{
    append(fields, arena, (struct field){ .name = field_name(id), .value = value, .id = id });
}

void fields_add_named(struct fields *fields, struct arena *arena, struct slice lower_name,
                      struct slice value)
{
    enum field_id id = field_id_of(lower_name);

    append(fields, arena, (struct field){ .name = lower_name, .value = value, .id = id });
}

const struct field *fields_find(const struct fields *fields, enum field_id id)
{
    for (size_t i = 0; i < fields->count; i++)
        if (fields->items[i].id == id)
            return &fields->items[i];
    return NULL;
}

const struct field *fields_find_named(const struct fields *fields, struct slice lower_name)
{
    for (size_t i = 0; i < fields->count; i++)
        if (slice_equal(fields->items[i].name, lower_name))
            return &fields->items[i];
    return NULL;
}

struct slice fields_value(const struct fields *fields, enum field_id id)
{
    const struct field *field = fields_find(fields, id);

    return field != NULL ? field->value : SLICE_EMPTY;
}

size_t fields_count_of(const struct fields *fields, enum field_id id)
{
    size_t count = 0;

    for (size_t i = 0; i < fields->count; i++)
        count += fields->items[i].id == id;
    return count;
}

bool field_list_contains(struct slice list, struct slice lower_token)
{
    while (list.len > 0)
        if (slice_equal_nocase(slice_trim(slice_cut(&list, ',')), lower_token))
            return true;
    return false;
}

/* Of the bytes of a host name: letters, digits, hyphens, dots (these are tokens, too). */
static bool is_host_byte(unsigned char c)
{
    unsigned char lower = c | 0x20;

    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

bool is_token(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (token_lower_case[(unsigned char)text.ptr[i]] == 0)
            return false;
    return text.len > 0;
}

bool method_has_lower_case(struct slice method)
{
    for (size_t i = 0; i < method.len; i++)
        if (method.ptr[i] >= 'a' && method.ptr[i] <= 'z')
            return true;
    return false;
}

/* May one of the eight bytes be a CTL? HTAB counts as one here; never wrong when it says no. */
static bool may_hold_control(const char *bytes)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t word;

    memcpy(&word, bytes, 8);
    uint64_t del = word ^ (ones * 0x7f);

    return ((((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & highs) != 0;
}

static bool has_control(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

/* Eight bytes at a time, as values are most of a head; the last eight may overlap the ones before. */
bool is_field_value(struct slice text)
{
    bool looks_clean = text.len >= 8;

    if (text.len == 0)
        return true;
    for (size_t i = 0; looks_clean && i + 8 <= text.len; i += 8)
        looks_clean = !may_hold_control(text.ptr + i);
    if (looks_clean)
        looks_clean = !may_hold_control(text.ptr + text.len - 8);
    if (!looks_clean && has_control(text))
        return false;
    return !is_blank(text.ptr[0]) && !is_blank(text.ptr[text.len - 1]);
}

bool field_is_hop_by_hop(enum field_id id)
{
    switch (id) {
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_TE:
    case FIELD_UPGRADE:
    case FIELD_HTTP2_SETTINGS:
        return true;
    default:
        return false;
    }
}

/* ---- authority ---- */

/* Copies letters, digits, hyphens in labels that are not empty, in lower case; false for all else. The
 * rest of RFC 3986's reg-name ('%', sub-delims) names no host that DNS or a certificate could know. */
static bool copy_host_name(char *into, struct slice host)
{
    char before = '.';

    for (size_t i = 0; i < host.len; i++) {
        char c = (char)token_lower_case[(unsigned char)host.ptr[i]];

        if (!is_host_byte((unsigned char)c) || (c == '.' && before == '.'))
            return false;
        into[i] = c;
        before = c;
    }
    return before != '.';
}

static bool copy_ipv6_literal(char *into, struct slice host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (host.len < 4 || host.len - 2 >= sizeof(text) || host.ptr[host.len - 1] != ']' ||
        memchr(host.ptr, '\0', host.len) != NULL)
        return false;
    slice_to_string(slice_of(host.ptr + 1, host.len - 2), text, sizeof(text));
    for (size_t i = 0; i < host.len; i++)
        into[i] =
            host.ptr[i] >= 'A' && host.ptr[i] <= 'F' ? (char)(host.ptr[i] | 0x20) : host.ptr[i];
    return inet_pton(AF_INET6, text, &address) == 1;
}

struct slice authority_host(struct slice authority)
{
    char end = authority.len > 0 && authority.ptr[0] == '[' ? ']' : ':';
    size_t at = slice_find(authority, end);

    return slice_first(authority, end == ']' ? at + 1 : at);
}

/* `text` is empty or ":port"; gives 0 when there is none. */
static bool parse_port(struct slice text, uint64_t *out_port)
{
    *out_port = 0;
    if (text.len == 0)
        return true;
    return text.ptr[0] == ':' && text.len <= 6 && slice_to_u64(slice_skip(text, 1), out_port) &&
           *out_port > 0 && *out_port <= UINT16_MAX;
}

static uint64_t default_port(struct slice scheme)
{
    if (slice_equal(scheme, SLICE("https")))
        return 443;
    return slice_equal(scheme, SLICE("http")) ? 80 : 0;
}

enum status authority_normalize(struct slice authority, struct slice scheme, struct arena *arena,
                                struct slice *out_authority)
{
    if (authority.len == 0 || authority.len > HOST_BYTES)
        return STATUS_MALFORMED;

    struct slice host = authority_host(authority);
    bool is_ipv6 = authority.ptr[0] == '[';
    uint64_t port;

    if (!parse_port(slice_skip(authority, host.len), &port))
        return STATUS_MALFORMED;
    if (!is_ipv6 && slice_ends_with(host, SLICE(".")))
        host.len--;

    char *text = arena_bytes(arena, host.len + sizeof(":65535"));
    size_t len = host.len;

    if (is_ipv6 ? !copy_ipv6_literal(text, host) : !copy_host_name(text, host))
        return STATUS_MALFORMED;
    if (port != 0 && port != default_port(scheme)) {
        char digits[5];
        size_t count = 0;

        for (uint64_t rest = port; rest > 0; rest /= 10)
            digits[count++] = (char)('0' + rest % 10);
        text[len++] = ':';
        while (count > 0)
            text[len++] = digits[--count];
    }
    *out_authority = slice_of(text, len);
    return STATUS_OK;
}
