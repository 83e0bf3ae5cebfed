/* config/config.c — life of the snapshot, and the reference that docs/config.md is made from. */
#include "config/config.h"

#include "base/mem.h"
#include "config/config_schema.h"

struct config *config_create(void)
{
    struct config *config = mem_zeroed(sizeof(*config));

    atomic_init(&config->ref_count, 1);
    arena_init(&config->arena, NULL, 0);
    config->file = "built-in";
    http_limits_init(&config->limits);
    config_defaults(config_schema, config_schema_count, &config->arena, config);
    return config;
}

struct config *config_ref(struct config *config)
{
    atomic_fetch_add(&config->ref_count, 1);
    return config;
}

void config_unref(struct config **config)
{
    struct config *c = *config;

    *config = NULL;
    if (c == NULL || atomic_fetch_sub(&c->ref_count, 1) != 1)
        return;
    route_table_unref(&c->table);
    if (c->admin_secret != NULL)
        mem_wipe(c->admin_secret, strlen(c->admin_secret));
    mem_free(c->admin_secret);
    redis_endpoint_deinit(&c->redis_endpoint);
    tls_context_unref(&c->redis_tls);
    tls_context_unref(&c->agent_mutual_tls);
    tls_context_unref(&c->agent_tls);
    tls_context_unref(&c->tls);
    key_store_unref(&c->key_store);
    arena_deinit(&c->arena);
    mem_free(c);
}

static const char *kind_words(enum value_kind kind)
{
    static const char *const words[] = {
        [VALUE_BOOL] = "boolean",        [VALUE_SIZE] = "number",
        [VALUE_U32] = "number",          [VALUE_U64] = "number",
        [VALUE_AUTO] = "`auto`, number", [VALUE_BYTES] = "size",
        [VALUE_DURATION] = "duration",   [VALUE_TEXT] = "text",
        [VALUE_FILE] = "file",           [VALUE_CHOICE] = "choice",
        [VALUE_TEXTS] = "list of text",  [VALUE_NETWORKS] = "list of networks",
        [VALUE_ADDRESS] = "address",     [VALUE_LIST] = "list of mappings",
    };
    return words[kind];
}

static void print_key(struct buf *into, const char *prefix, const struct schema_key *key)
{
    buf_printf(into, "| `%s%s` | ", prefix, key->path);
    if (key->kind == VALUE_CHOICE) {
        for (size_t i = 0; key->choices[i] != NULL; i++)
            buf_printf(into, "%s`%s`", i > 0 ? ", " : "", key->choices[i]);
    } else {
        buf_append(into, slice_from_string(kind_words(key->kind)));
    }
    if (key->fallback == NULL)
        buf_printf(into, " | — | %s |\n", key->words);
    else if (key->fallback[0] == '\0')
        buf_printf(into, " | empty | %s |\n", key->words);
    else
        buf_printf(into, " | `%s` | %s |\n", key->fallback, key->words);
    if (key->kind != VALUE_LIST)
        return;
    struct buf name = { 0 };

    buf_printf(&name, "%s[].", key->path);
    for (size_t i = 0; i < key->element->key_count; i++)
        print_key(into, buf_text(&name), &key->element->keys[i]);
    buf_deinit(&name);
}

void config_print_reference(struct buf *into)
{
    buf_append(into, SLICE("| key | kind | default | what |\n| --- | --- | --- | --- |\n"));
    for (size_t i = 0; i < config_schema_count; i++)
        print_key(into, "", &config_schema[i]);
}
