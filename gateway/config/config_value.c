/* config/config_value.c — one scalar of the file into its place, by its kind. */
#include <stdio.h>

#include "config/config_schema.h"

enum { EXPECTED_BYTES = 128 };

static bool fail(char *out_expected, const char *words)
{
    snprintf(out_expected, EXPECTED_BYTES, "%s", words);
    return false;
}

static bool fail_range(const struct schema_key *key, char *out_expected, const char *what)
{
    if (key->min == 0 && key->max == 0)
        return fail(out_expected, what);
    if (key->max == 0)
        snprintf(out_expected, EXPECTED_BYTES, "%s, at least %llu", what,
                 (unsigned long long)key->min);
    else
        snprintf(out_expected, EXPECTED_BYTES, "%s from %llu to %llu", what,
                 (unsigned long long)key->min, (unsigned long long)key->max);
    return false;
}

static bool is_in_range(const struct schema_key *key, uint64_t number)
{
    return number >= key->min && (key->max == 0 || number <= key->max);
}

struct unit {
    const char *suffix;
    uint64_t factor;
};

static const struct unit byte_units[] = {
    { "KiB", 1u << 10 }, { "MiB", 1u << 20 }, { "GiB", 1u << 30 }, { "", 1 }
};
static const struct unit time_units[] = {
    { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }
};

static bool read_with_unit(struct slice text, const struct unit *units, size_t count, uint64_t *out)
{
    for (size_t i = 0; i < count; i++) {
        struct slice suffix = slice_from_string(units[i].suffix);
        uint64_t number;

        if (!slice_ends_with(text, suffix) ||
            !slice_to_u64(slice_first(text, text.len - suffix.len), &number))
            continue;
        return !__builtin_mul_overflow(number, units[i].factor, out);
    }
    return false;
}

static bool read_number(const struct schema_key *key, struct slice text, uint64_t *out,
                        char *out_expected)
{
    switch (key->kind) {
    case VALUE_BYTES:
        if (read_with_unit(text, byte_units, 4, out) && is_in_range(key, *out))
            return true;
        return fail_range(key, out_expected, "a size such as 65536, 64KiB or 1MiB (in bytes)");
    case VALUE_DURATION:
        if (read_with_unit(text, time_units, 4, out) && is_in_range(key, *out))
            return true;
        return fail_range(key, out_expected, "a duration such as 250ms, 10s, 5m or 2h (in ms)");
    case VALUE_AUTO:
        if (slice_equal(text, SLICE("auto"))) {
            *out = 0;
            return true;
        }
        if (slice_to_u64(text, out) && is_in_range(key, *out))
            return true;
        return fail_range(key, out_expected, "`auto` or a whole number");
    default:
        if (slice_to_u64(text, out) && is_in_range(key, *out))
            return true;
        return fail_range(key, out_expected, "a whole number");
    }
}

static void put_number(const struct schema_key *key, void *base, uint64_t number)
{
    void *place = (char *)base + key->offset;

    if (key->kind == VALUE_U32)
        *(uint32_t *)place = (uint32_t)number;
    else if (key->kind == VALUE_U64 || key->kind == VALUE_DURATION)
        *(uint64_t *)place = number;
    else
        *(size_t *)place = (size_t)number;
}

static bool read_bool(const struct schema_key *key, struct slice text, void *base,
                      char *out_expected)
{
    bool yes = slice_equal(text, SLICE("true"));

    if (!yes && !slice_equal(text, SLICE("false")))
        return fail(out_expected, "true or false");
    *(bool *)((char *)base + key->offset) = yes;
    return true;
}

static bool read_choice(const struct schema_key *key, struct slice text, void *base,
                        char *out_expected)
{
    int used = snprintf(out_expected, EXPECTED_BYTES, "one of");

    for (int i = 0; key->choices[i] != NULL; i++) {
        if (slice_equal(text, slice_from_string(key->choices[i]))) {
            *(int *)((char *)base + key->offset) = i;
            return true;
        }
        used += snprintf(out_expected + used, EXPECTED_BYTES - (size_t)used, "%s %s",
                         i > 0 ? "," : "", key->choices[i]);
    }
    return false;
}

static const char *keep_text(struct arena *arena, struct slice text)
{
    char *copy = arena_bytes(arena, text.len + 1);

    return slice_to_string(text, copy, text.len + 1);
}

static bool read_text(const struct schema_key *key, struct slice text, const char *folder,
                      struct arena *arena, void *base, char *out_expected)
{
    if (memchr(text.ptr, '\0', text.len) != NULL)
        return fail(out_expected, "text without NUL");
    if (key->kind == VALUE_FILE && text.len == 0)
        return fail(out_expected, "the path of a file");
    if (key->kind == VALUE_FILE && text.ptr[0] != '/' && folder != NULL)
        text = arena_printf(arena, "%s/%.*s", folder, SLICE_ARGS(text));
    *(const char **)(void *)((char *)base + key->offset) = keep_text(arena, text);
    return true;
}

static bool read_address(const struct schema_key *key, struct slice text, void *base,
                         char *out_expected)
{
    if (address_parse(text, (struct address *)(void *)((char *)base + key->offset)) == STATUS_OK)
        return true;
    return fail(out_expected, "HOST:PORT with a numeric host, :PORT, [v6]:PORT or unix:/path");
}

bool config_value_read(const struct schema_key *key, struct slice text, const char *folder,
                       struct arena *arena, void *base, char *out_expected)
{
    uint64_t number;

    switch (key->kind) {
    case VALUE_BOOL:
        return read_bool(key, text, base, out_expected);
    case VALUE_CHOICE:
        return read_choice(key, text, base, out_expected);
    case VALUE_TEXT:
    case VALUE_FILE:
        return read_text(key, text, folder, arena, base, out_expected);
    case VALUE_ADDRESS:
        return read_address(key, text, base, out_expected);
    case VALUE_TEXTS:
    case VALUE_NETWORKS:
    case VALUE_LIST:
        return fail(out_expected, "a list");
    default:
        if (!read_number(key, text, &number, out_expected))
            return false;
        put_number(key, base, number);
        return true;
    }
}

/* Lists of the file are short: each item costs a new array in the arena. */
bool config_value_append(const struct schema_key *key, struct slice text, struct arena *arena,
                         void *base, char *out_expected)
{
    void *place = (char *)base + key->offset;

    if (key->kind == VALUE_TEXTS) {
        struct config_texts *texts = place;
        const char **items = arena_alloc(arena, (texts->count + 1) * sizeof(*items));

        if (texts->count > 0)
            memcpy(items, texts->items, texts->count * sizeof(*items));
        items[texts->count] = keep_text(arena, text);
        texts->items = items;
        texts->count++;
        return true;
    }

    struct config_networks *networks = place;
    struct network *items = arena_alloc(arena, (networks->count + 1) * sizeof(*items));

    if (network_parse(text, &items[networks->count]) != STATUS_OK)
        return fail(out_expected, "a network such as 10.0.0.0/8 or fd00::/8, or one address");
    if (networks->count > 0)
        memcpy(items, networks->items, networks->count * sizeof(*items));
    networks->items = items;
    networks->count++;
    return true;
}

static void set_default(const struct schema_key *key, struct arena *arena, void *base)
{
    char expected[EXPECTED_BYTES];
    struct slice text = slice_from_string(key->fallback);

    if (key->kind != VALUE_TEXTS && key->kind != VALUE_NETWORKS) {
        ENSURE(config_value_read(key, text, NULL, arena, base, expected));
        return;
    }
    while (text.len > 0)
        ENSURE(config_value_append(key, slice_trim(slice_cut(&text, ',')), arena, base, expected));
}

void config_defaults(const struct schema_key *keys, size_t count, struct arena *arena, void *base)
{
    for (size_t i = 0; i < count; i++) {
        if (keys[i].fallback != NULL)
            set_default(&keys[i], arena, base);
    }
}
