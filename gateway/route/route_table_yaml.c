/* route/route_table_yaml.c — the routes file: three mappings of ids to mappings of fields. The only
 * file of route/ that sees libyaml. The first error ends it, with the place where it is. */
#include <errno.h>
#include <stdio.h>

#include <yaml.h>

#include "base/mem.h"
#include "route/route_table.h"

enum { FIELDS_MAX = 32 };

struct reading {
    const char *file;
    yaml_document_t document;
    struct buf *error; /* NULL: nobody wants to know */
    struct route_table *table;
    struct buf list_text; /* of the record at hand: sequences as comma-separated text */
};

static enum status fail_at(struct reading *in, yaml_mark_t mark, const char *words, struct slice of)
{
    if (in->error != NULL)
        buf_printf(in->error, "%s:%zu:%zu: %s%s%.*s%s", in->file, mark.line + 1, mark.column + 1,
                   words, of.len > 0 ? ": \"" : "", SLICE_ARGS(slice_first(of, 100)),
                   of.len > 0 ? "\"" : "");
    return STATUS_CONFIG_INVALID;
}

static struct slice text_of(const yaml_node_t *node)
{
    return slice_of(node->data.scalar.value, node->data.scalar.length);
}

static bool is_null(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (node->data.scalar.length == 0 || slice_equal(text_of(node), SLICE("~")) ||
            slice_equal(text_of(node), SLICE("null")));
}

/* Scalars as they are; a sequence of scalars ("[browser, vnc]") joined by commas. */
static enum status read_value(struct reading *in, yaml_node_t *node, struct slice *out_value)
{
    size_t start = in->list_text.len;

    if (node->type == YAML_SCALAR_NODE) {
        *out_value = is_null(node) ? SLICE_EMPTY : text_of(node);
        return STATUS_OK;
    }
    if (node->type != YAML_SEQUENCE_NODE)
        return fail_at(in, node->start_mark, "expected a value or a list of values", SLICE_EMPTY);
    for (yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++) {
        yaml_node_t *value = yaml_document_get_node(&in->document, *item);

        if (value->type != YAML_SCALAR_NODE)
            return fail_at(in, value->start_mark, "expected a value", SLICE_EMPTY);
        if (in->list_text.len > start)
            buf_append_byte(&in->list_text, ',');
        buf_append(&in->list_text, text_of(value));
        if (in->list_text.len > 256) /* reserved below: it must not move */
            return fail_at(in, value->start_mark, "list is too long", SLICE_EMPTY);
    }
    *out_value = slice_skip(buf_slice(&in->list_text), start);
    return STATUS_OK;
}

struct fields {
    struct record_field items[FIELDS_MAX];
    yaml_mark_t marks[FIELDS_MAX];
    size_t count;
};

static enum status read_fields(struct reading *in, enum record_kind kind, yaml_node_t *node,
                               struct fields *out)
{
    enum status status = STATUS_OK;

    if (node->type != YAML_MAPPING_NODE)
        return fail_at(in, node->start_mark, "expected the fields of a record", SLICE_EMPTY);
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top && status == STATUS_OK; pair++) {
        yaml_node_t *key = yaml_document_get_node(&in->document, pair->key);
        yaml_node_t *value = yaml_document_get_node(&in->document, pair->value);
        struct record_field *field = &out->items[out->count];

        if (key->type != YAML_SCALAR_NODE || !record_field_is_known(kind, text_of(key)))
            return fail_at(in, key->start_mark, "unknown field",
                           key->type == YAML_SCALAR_NODE ? text_of(key) : SLICE_EMPTY);
        for (size_t i = 0; i < out->count; i++)
            if (slice_equal(out->items[i].name, text_of(key)))
                return fail_at(in, key->start_mark, "field is repeated", text_of(key));
        field->name = text_of(key);
        out->marks[out->count++] = value->start_mark; /* known and not repeated: always room */
        status = read_value(in, value, &field->value);
    }
    return status;
}

/* Where the wrong field stands; the record itself when it is missing. */
static enum status fail_field(struct reading *in, const yaml_node_t *key,
                              const struct fields *fields, struct slice wrong)
{
    char words[64];

    for (size_t i = 0; i < fields->count; i++) {
        if (!slice_equal(fields->items[i].name, wrong) || fields->items[i].value.len == 0)
            continue;
        snprintf(words, sizeof(words), "value of %.*s is not understood", SLICE_ARGS(wrong));
        /* the value may be a secret: only its place is told */
        return fail_at(in, fields->marks[i], words, SLICE_EMPTY);
    }
    snprintf(words, sizeof(words), "record lacks the field %.*s", SLICE_ARGS(wrong));
    return fail_at(in, key->start_mark, words, text_of(key));
}

static bool has_upper_case(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] >= 'A' && text.ptr[i] <= 'Z')
            return true;
    return false;
}

static enum status read_record(struct reading *in, enum record_kind kind, yaml_node_t *key,
                               yaml_node_t *value)
{
    struct fields fields = { .count = 0 };
    struct record *record;
    struct slice wrong;

    if (key->type != YAML_SCALAR_NODE || text_of(key).len == 0)
        return fail_at(in, key->start_mark, "expected the id of a record", SLICE_EMPTY);
    if (kind == RECORD_HOST && has_upper_case(text_of(key)))
        return fail_at(in, key->start_mark, "host names are lower case", text_of(key));
    if (route_table_find(in->table, kind, text_of(key)) != NULL)
        return fail_at(in, key->start_mark, "record is repeated", text_of(key));

    buf_clear(&in->list_text);
    (void)buf_reserve(&in->list_text, 4096);
    enum status status = read_fields(in, kind, value, &fields);

    if (status != STATUS_OK)
        return status;
    if (record_from_fields(kind, text_of(key), fields.items, fields.count, &wrong, &record) !=
        STATUS_OK)
        return fail_field(in, key, &fields, wrong);
    route_table_put(in->table, record);
    return STATUS_OK;
}

static enum status read_records(struct reading *in, enum record_kind kind, yaml_node_t *node)
{
    enum status status = STATUS_OK;

    if (is_null(node))
        return STATUS_OK;
    if (node->type != YAML_MAPPING_NODE)
        return fail_at(in, node->start_mark, "expected a mapping of ids to records", SLICE_EMPTY);
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top && status == STATUS_OK; pair++)
        status = read_record(in, kind, yaml_document_get_node(&in->document, pair->key),
                             yaml_document_get_node(&in->document, pair->value));
    return status;
}

static enum status read_section(struct reading *in, yaml_node_t *key, yaml_node_t *value,
                                unsigned *seen)
{
    static const char *const sections[RECORD_KIND_COUNT] = {
        [RECORD_COMPUTER] = "computers",
        [RECORD_HOST] = "hosts",
        [RECORD_SESSION] = "sessions",
    };
    struct slice name = key->type == YAML_SCALAR_NODE ? text_of(key) : SLICE_EMPTY;

    for (unsigned kind = 0; kind < RECORD_KIND_COUNT; kind++) {
        if (!slice_equal(name, slice_from_string(sections[kind])))
            continue;
        if ((*seen & 1u << kind) != 0)
            return fail_at(in, key->start_mark, "section is repeated", name);
        *seen |= 1u << kind;
        return read_records(in, (enum record_kind)kind, value);
    }
    return fail_at(in, key->start_mark, "expected computers, hosts or sessions", name);
}

static enum status read_document(struct reading *in)
{
    yaml_node_t *root = yaml_document_get_root_node(&in->document);
    enum status status = STATUS_OK;
    unsigned seen = 0;

    if (root == NULL || is_null(root))
        return STATUS_OK; /* an empty file: no routes */
    if (root->type != YAML_MAPPING_NODE)
        return fail_at(in, root->start_mark, "expected computers, hosts and sessions", SLICE_EMPTY);
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top && status == STATUS_OK; pair++)
        status = read_section(in, yaml_document_get_node(&in->document, pair->key),
                              yaml_document_get_node(&in->document, pair->value), &seen);
    return status;
}

/* One document; a second one would be ignored, so it is an error. */
static enum status read_end(struct reading *in, yaml_parser_t *parser)
{
    yaml_document_t more;
    enum status status = STATUS_OK;

    if (!yaml_parser_load(parser, &more))
        return fail_at(in, parser->problem_mark, parser->problem, SLICE_EMPTY);
    yaml_node_t *root = yaml_document_get_root_node(&more);
    if (root != NULL)
        status = fail_at(in, root->start_mark, "expected one document", SLICE_EMPTY);
    yaml_document_delete(&more);
    return status;
}

static enum status read_stream(struct reading *in, FILE *stream)
{
    yaml_parser_t parser;

    ENSURE(yaml_parser_initialize(&parser));
    yaml_parser_set_input_file(&parser, stream);

    enum status status = STATUS_OK;

    if (yaml_parser_load(&parser, &in->document)) {
        status = read_document(in);
        yaml_document_delete(&in->document);
        if (status == STATUS_OK)
            status = read_end(in, &parser);
    } else {
        yaml_mark_t mark = parser.problem_mark;

        if (mark.line == 0 && mark.column == 0 && parser.context_mark.line > 0)
            mark = parser.context_mark;
        status =
            fail_at(in, mark, parser.problem != NULL ? parser.problem : "is not YAML", SLICE_EMPTY);
    }
    yaml_parser_delete(&parser);
    return status;
}

enum status route_table_load(const char *file, struct buf *out_error,
                             struct route_table **out_table)
{
    struct reading in = { .file = file, .error = out_error };
    FILE *stream = fopen(file, "re");

    if (stream == NULL) {
        if (out_error != NULL)
            buf_printf(out_error, "%s: %s", file, strerror(errno));
        return STATUS_CONFIG_INVALID;
    }
    in.table = route_table_create();

    enum status status = read_stream(&in, stream);

    (void)fclose(stream);
    buf_deinit(&in.list_text);
    if (status == STATUS_OK)
        *out_table = in.table;
    else
        route_table_unref(&in.table);
    return status;
}
