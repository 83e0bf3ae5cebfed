/* config/config_yaml.c — the file as libyaml sees it, walked against the schema. Unknown keys, keys
 * that stand twice and values of the wrong kind are errors with their place. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include <yaml.h>

#include "base/mem.h"
#include "config/config_schema.h"

enum { FILE_BYTES_MAX = 4 << 20, PATH_BYTES = 128, DEPTH_MAX = 16 };

struct walk {
    struct config_reading *reading;
    yaml_document_t *document;
    const char *folder;
    const struct schema_key *keys; /* of the struct that is being filled */
    size_t key_count;
    void *base;
    bool *seen; /* by key */
};

enum status config_wrong(const struct config_reading *reading, struct config_mark mark,
                         const char *format, ...)
{
    va_list arguments;

    if (reading->out_error == NULL || reading->out_error->len > 0)
        return STATUS_CONFIG_INVALID;
    buf_printf(reading->out_error, "%s:", reading->config->file);
    if (mark.line > 0)
        buf_printf(reading->out_error, "%u:%u:", mark.line, mark.column);
    buf_append_byte(reading->out_error, ' ');
    va_start(arguments, format);
    buf_vprintf(reading->out_error, format, arguments);
    va_end(arguments);
    return STATUS_CONFIG_INVALID;
}

struct config_mark config_mark_of(const struct config_reading *reading, const char *path)
{
    for (size_t i = 0; reading->marks != NULL && i < config_schema_count; i++) {
        if (strcmp(config_schema[i].path, path) == 0)
            return reading->marks[i];
    }
    return (struct config_mark){ 0 };
}

static struct config_mark mark_of(const yaml_node_t *node)
{
    return (struct config_mark){ (unsigned)node->start_mark.line + 1,
                                 (unsigned)node->start_mark.column + 1 };
}

static struct slice scalar_of(const yaml_node_t *node)
{
    return slice_of(node->data.scalar.value, node->data.scalar.length);
}

static const char *kind_of(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE    ? "a value"
           : node->type == YAML_MAPPING_NODE ? "a mapping"
                                             : "a list";
}

static enum status walk_mapping(const struct walk *walk, yaml_node_t *node, const char *prefix,
                                unsigned depth);

static enum status read_scalar(const struct walk *walk, const struct schema_key *key,
                               yaml_node_t *node)
{
    char expected[128];

    if (node->type != YAML_SCALAR_NODE) {
        config_value_read(key, SLICE_EMPTY, NULL, &walk->reading->config->arena, walk->base,
                          expected);
        return config_wrong(walk->reading, mark_of(node), "%s: expected a value, got %s", key->path,
                            kind_of(node));
    }
    if (config_value_read(key, scalar_of(node), walk->folder, &walk->reading->config->arena,
                          walk->base, expected))
        return STATUS_OK;
    return config_wrong(walk->reading, mark_of(node), "%s: expected %s, got \"%.*s\"", key->path,
                        expected, SLICE_ARGS(slice_first(scalar_of(node), 80)));
}

static enum status read_item(const struct walk *walk, const struct schema_key *key,
                             yaml_node_t *value)
{
    char expected[128];

    if (value->type != YAML_SCALAR_NODE)
        return config_wrong(walk->reading, mark_of(value), "%s: expected text, got %s", key->path,
                            kind_of(value));
    if (!config_value_append(key, scalar_of(value), &walk->reading->config->arena, walk->base,
                             expected))
        return config_wrong(walk->reading, mark_of(value), "%s: expected %s, got \"%.*s\"",
                            key->path, expected, SLICE_ARGS(slice_first(scalar_of(value), 80)));
    return STATUS_OK;
}

static void forget_items(const struct walk *walk, const struct schema_key *key)
{
    memset((char *)walk->base + key->offset, 0, sizeof(struct config_texts)); /* the default goes */
}

/* A text in the place of a list is a list of one. */
static enum status read_only_item(const struct walk *walk, const struct schema_key *key,
                                  yaml_node_t *value)
{
    forget_items(walk, key);
    return read_item(walk, key, value);
}

static enum status read_items(const struct walk *walk, const struct schema_key *key,
                              yaml_node_t *node)
{
    enum status status = STATUS_OK;

    forget_items(walk, key);
    for (yaml_node_item_t *item = node->data.sequence.items.start;
         status == STATUS_OK && item < node->data.sequence.items.top; item++)
        status = read_item(walk, key, yaml_document_get_node(walk->document, *item));
    return status;
}

static enum status read_element(const struct walk *walk, const struct schema_key *key,
                                yaml_node_t *node, void *base)
{
    const struct schema_list *list = key->element;
    bool *seen = mem_zeroed(list->key_count * sizeof(*seen));
    struct walk inner = { walk->reading,   walk->document, walk->folder, list->keys,
                          list->key_count, base,           seen };
    enum status status;

    *(struct config_mark *)base = mark_of(node);
    config_defaults(list->keys, list->key_count, &walk->reading->config->arena, base);
    if (node->type != YAML_MAPPING_NODE)
        status = config_wrong(walk->reading, mark_of(node), "%s: expected a mapping, got %s",
                              key->path, kind_of(node));
    else
        status = walk_mapping(&inner, node, "", 0);
    for (size_t i = 0; status == STATUS_OK && i < list->key_count; i++) {
        if (!seen[i] && list->keys[i].fallback == NULL && list->keys[i].kind != VALUE_NETWORKS)
            status = config_wrong(walk->reading, mark_of(node), "%s: expected the key `%s`",
                                  key->path, list->keys[i].path);
    }
    mem_free(seen);
    return status;
}

static enum status read_list(const struct walk *walk, const struct schema_key *key,
                             yaml_node_t *node)
{
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    char *elements = arena_alloc(&walk->reading->config->arena, count * key->element->size + 1);
    enum status status = STATUS_OK;

    memset(elements, 0, count * key->element->size);
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        status = read_element(
            walk, key, yaml_document_get_node(walk->document, node->data.sequence.items.start[i]),
            elements + i * key->element->size);
    *(void **)(void *)((char *)walk->base + key->offset) = elements;
    *(size_t *)(void *)((char *)walk->base + key->count_offset) = count;
    return status;
}

static enum status read_value(const struct walk *walk, size_t index, yaml_node_t *name,
                              yaml_node_t *value)
{
    const struct schema_key *key = &walk->keys[index];
    bool is_list =
        key->kind == VALUE_LIST || key->kind == VALUE_TEXTS || key->kind == VALUE_NETWORKS;

    if (walk->seen[index])
        return config_wrong(walk->reading, mark_of(name), "%s: stands twice", key->path);
    walk->seen[index] = true;
    if (walk->keys == config_schema)
        walk->reading->marks[index] = mark_of(value);
    if (!is_list)
        return read_scalar(walk, key, value);
    if (key->kind == VALUE_TEXTS && value->type == YAML_SCALAR_NODE && scalar_of(value).len > 0)
        return read_only_item(walk, key, value);
    if (value->type != YAML_SEQUENCE_NODE)
        return config_wrong(walk->reading, mark_of(value), "%s: expected a list, got %s", key->path,
                            kind_of(value));
    return key->kind == VALUE_LIST ? read_list(walk, key, value) : read_items(walk, key, value);
}

/* "expected one of a, b, c" for the keys that may stand under `prefix`. */
static enum status unknown_key(const struct walk *walk, yaml_node_t *name, const char *path,
                               const char *prefix)
{
    struct buf known = { 0 };
    size_t prefix_len = strlen(prefix);

    for (size_t i = 0; i < walk->key_count; i++) {
        const char *rest = walk->keys[i].path + prefix_len;
        struct slice part;

        if (strncmp(walk->keys[i].path, prefix, prefix_len) != 0)
            continue;
        part = slice_of(rest, strcspn(rest, "."));
        if (known.len >= part.len && i > 0 &&
            strncmp(walk->keys[i - 1].path, walk->keys[i].path, prefix_len + part.len) == 0 &&
            walk->keys[i - 1].path[prefix_len + part.len] == '.')
            continue; /* the same section again */
        buf_printf(&known, "%s%.*s", known.len > 0 ? ", " : "", SLICE_ARGS(part));
    }
    enum status status =
        config_wrong(walk->reading, mark_of(name), "%s: unknown key; expected one of: %s", path,
                     buf_text(&known));

    buf_deinit(&known);
    return status;
}

static enum status walk_pair(const struct walk *walk, yaml_node_t *name, yaml_node_t *value,
                             const char *prefix, unsigned depth)
{
    char path[PATH_BYTES];
    size_t len;

    if (name->type != YAML_SCALAR_NODE)
        return config_wrong(walk->reading, mark_of(name), "expected the name of a key, got %s",
                            kind_of(name));
    len = (size_t)snprintf(path, sizeof(path), "%s%.*s", prefix,
                           SLICE_ARGS(slice_first(scalar_of(name), 80)));
    len = len < sizeof(path) - 1 ? len : sizeof(path) - 2;
    for (size_t i = 0; i < walk->key_count; i++) {
        if (strcmp(walk->keys[i].path, path) == 0)
            return read_value(walk, i, name, value);
    }
    for (size_t i = 0; i < walk->key_count; i++) {
        if (strncmp(walk->keys[i].path, path, len) != 0 || walk->keys[i].path[len] != '.')
            continue;
        if (value->type != YAML_MAPPING_NODE)
            return config_wrong(walk->reading, mark_of(value), "%s: expected a mapping, got %s",
                                path, kind_of(value));
        path[len] = '.';
        path[len + 1] = '\0';
        return walk_mapping(walk, value, path, depth + 1);
    }
    return unknown_key(walk, name, path, prefix);
}

static enum status walk_mapping(const struct walk *walk, yaml_node_t *node, const char *prefix,
                                unsigned depth)
{
    enum status status = STATUS_OK;

    if (depth > DEPTH_MAX)
        return config_wrong(walk->reading, mark_of(node), "nested too deep");
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         status == STATUS_OK && pair < node->data.mapping.pairs.top; pair++)
        status = walk_pair(walk, yaml_document_get_node(walk->document, pair->key),
                           yaml_document_get_node(walk->document, pair->value), prefix, depth);
    return status;
}

static enum status walk_document(struct config_reading *reading, yaml_document_t *document,
                                 const char *folder)
{
    yaml_node_t *root = yaml_document_get_root_node(document);
    bool *seen = mem_zeroed(config_schema_count * sizeof(*seen));
    struct walk walk = { reading,         document, folder, config_schema, config_schema_count,
                         reading->config, seen };
    enum status status;

    if (root == NULL)
        status =
            config_wrong(reading, (struct config_mark){ 1, 1 }, "expected a mapping, got nothing");
    else if (root->type != YAML_MAPPING_NODE)
        status = config_wrong(reading, mark_of(root), "expected a mapping, got %s", kind_of(root));
    else
        status = walk_mapping(&walk, root, "", 0);
    mem_free(seen);
    return status;
}

static enum status read_text(struct config_reading *reading, struct slice text, const char *folder)
{
    yaml_parser_t parser;
    yaml_document_t document;
    enum status status;

    ENSURE(yaml_parser_initialize(&parser) == 1);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    if (yaml_parser_load(&parser, &document) == 0) {
        struct config_mark mark = { (unsigned)parser.problem_mark.line + 1,
                                    (unsigned)parser.problem_mark.column + 1 };

        status = config_wrong(reading, mark, "not YAML: %s%s%s",
                              parser.context != NULL ? parser.context : "",
                              parser.context != NULL ? ", " : "",
                              parser.problem != NULL ? parser.problem : "cannot be read");
    } else {
        status = walk_document(reading, &document, folder);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return status;
}

enum status config_parse(const char *file, struct slice text, struct buf *out_error,
                         struct config **out_config)
{
    struct config *config = config_create();
    struct config_reading reading = { config, NULL, out_error };
    const char *slash = strrchr(file, '/');
    struct slice folder = slash != NULL ? slice_of(file, (size_t)(slash - file)) : SLICE(".");
    char *folder_text = slice_dup(folder);
    enum status status;

    config->file = arena_printf(&config->arena, "%s%c", file, 0).ptr;
    reading.marks = mem_zeroed(config_schema_count * sizeof(*reading.marks));
    status = read_text(&reading, text, folder_text);
    if (status == STATUS_OK)
        status = config_check(&reading);
    mem_free(reading.marks);
    mem_free(folder_text);
    if (status == STATUS_OK)
        *out_config = config;
    else
        config_unref(&config);
    return status;
}

enum status config_load(const char *file, struct buf *out_error, struct config **out_config)
{
    struct buf text = { 0 };
    FILE *stream = fopen(file, "re");
    size_t count = 0;
    enum status status;

    if (stream == NULL) {
        if (out_error != NULL)
            buf_printf(out_error, "%s: %s", file, strerror(errno));
        return STATUS_CONFIG_INVALID;
    }
    do {
        count = fread(buf_reserve(&text, 65536), 1, 65536, stream);
        buf_commit(&text, count);
    } while (count > 0 && text.len <= FILE_BYTES_MAX);
    bool is_broken = ferror(stream) != 0 || text.len > FILE_BYTES_MAX;
    fclose(stream);
    if (is_broken) {
        if (out_error != NULL)
            buf_printf(out_error, "%s: cannot be read, or is larger than 4 MiB", file);
        status = STATUS_CONFIG_INVALID;
    } else {
        status = config_parse(file, buf_slice(&text), out_error, out_config);
    }
    buf_deinit(&text);
    return status;
}
