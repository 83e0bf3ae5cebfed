/* config/config_change.c — what a reload cannot take. Such a file is refused as a whole, so that it
 * and the process never disagree unseen; SIGUSR2 takes everything. */
#include <fnmatch.h>

#include "config/config_schema.h"

/* Patterns of paths. Workers, their listeners, pools and caches are built once, from these. */
static const char *const fixed[] = {
    "workers",         "io_uring",    "listeners",        "log.access",         "auth.issuer",
    "auth.*_audience", "auth.leeway", "auth.token_bytes", "auth.cache_entries", "routes.*",
    "upstream.[!t]*", /* upstream.tls.* is read anew */
    "admin.address",
};

static bool is_fixed(const char *path)
{
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        if (fnmatch(fixed[i], path, 0) == 0)
            return true;
    return false;
}

static bool texts_differ(const char *a, const char *b)
{
    return (a == NULL) != (b == NULL) || (a != NULL && strcmp(a, b) != 0);
}

static bool networks_differ(const struct config_networks *a, const struct config_networks *b)
{
    if (a->count != b->count)
        return true;
    for (size_t i = 0; i < a->count; i++)
        if (a->items[i].prefix_bits != b->items[i].prefix_bits ||
            memcmp(a->items[i].bytes, b->items[i].bytes, sizeof(a->items[i].bytes)) != 0)
            return true;
    return false;
}

static bool text_lists_differ(const struct config_texts *a, const struct config_texts *b)
{
    if (a->count != b->count)
        return true;
    for (size_t i = 0; i < a->count; i++)
        if (texts_differ(a->items[i], b->items[i]))
            return true;
    return false;
}

static bool differs(const struct schema_key *key, const char *a, const char *b);

static bool lists_differ(const struct schema_key *key, const char *a, const char *b)
{
    const struct schema_list *element = key->element;
    const char *items_a = *(char *const *)(const void *)(a + key->offset);
    const char *items_b = *(char *const *)(const void *)(b + key->offset);
    size_t count = *(const size_t *)(const void *)(a + key->count_offset);

    if (count != *(const size_t *)(const void *)(b + key->count_offset))
        return true;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < element->key_count; k++)
            if (differs(&element->keys[k], items_a + i * element->size,
                        items_b + i * element->size))
                return true;
    return false;
}

static size_t scalar_bytes(enum value_kind kind)
{
    switch (kind) {
    case VALUE_BOOL:
        return sizeof(bool);
    case VALUE_U32:
        return sizeof(uint32_t);
    case VALUE_CHOICE:
        return sizeof(int);
    case VALUE_SIZE:
    case VALUE_AUTO:
    case VALUE_BYTES:
        return sizeof(size_t);
    default:
        return sizeof(uint64_t);
    }
}

/* `a` and `b` are the structs that the key lies in. */
static bool differs(const struct schema_key *key, const char *a, const char *b)
{
    const void *at = a + key->offset, *bt = b + key->offset;

    switch (key->kind) {
    case VALUE_TEXT:
    case VALUE_FILE:
        return texts_differ(*(const char *const *)at, *(const char *const *)bt);
    case VALUE_TEXTS:
        return text_lists_differ(at, bt);
    case VALUE_NETWORKS:
        return networks_differ(at, bt);
    case VALUE_ADDRESS:
        return !address_equal(at, bt);
    case VALUE_LIST:
        return lists_differ(key, a, b);
    default:
        return memcmp(at, bt, scalar_bytes(key->kind)) != 0;
    }
}

const char *config_fixed_change(const struct config *old, const struct config *new)
{
    for (size_t i = 0; i < config_schema_count; i++)
        if (is_fixed(config_schema[i].path) &&
            differs(&config_schema[i], (const char *)old, (const char *)new))
            return config_schema[i].path;
    return NULL;
}
