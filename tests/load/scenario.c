/* tests/load/scenario.c — the YAML as libyaml sees it against two tables of keys. */
#include "scenario.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "base/mem.h"

enum key_kind { KEY_TEXT, KEY_COUNT, KEY_NUMBER, KEY_BOOL, KEY_DURATION, KEY_CHOICE, KEY_COMMAND };

struct key {
    const char *name;
    enum key_kind kind;
    size_t offset;
    const char *const *choices;
};

static const char *const kinds[] = { "unary", "stream",    "echo",  "attach",
                                     "http",  "websocket", "storm", NULL };
static const char *const protocols[] = { "h2", "h1", NULL };
static const char *const identities[] = { "connection", "call", NULL };
static const char *const inputs[] = { "stream_input", "send_input", NULL };
static const char *const codecs[] = { "proto", "json", NULL };
static const char *const auths[] = { "bearer", "cookie", "none", NULL };

#define LOAD_KEY(name, kind, choices)                                                              \
    {                                                                                              \
#name, kind, offsetof(struct load, name), choices                                          \
    }
#define LOAD_KEY_AS(name, member, kind)                                                            \
    {                                                                                              \
        name, kind, offsetof(struct load, member), NULL                                            \
    }
static const struct key load_keys[] = {
    LOAD_KEY(name, KEY_TEXT, NULL),
    LOAD_KEY(kind, KEY_CHOICE, kinds),
    LOAD_KEY(protocol, KEY_CHOICE, protocols),
    LOAD_KEY(tls, KEY_BOOL, NULL),
    LOAD_KEY(connections, KEY_COUNT, NULL),
    LOAD_KEY(rate, KEY_NUMBER, NULL),
    LOAD_KEY(sessions, KEY_COUNT, NULL),
    LOAD_KEY(groups, KEY_COUNT, NULL),
    LOAD_KEY(events, KEY_NUMBER, NULL),
    LOAD_KEY_AS("bytes", event_bytes, KEY_COUNT),
    LOAD_KEY_AS("open_over", open_ms, KEY_DURATION),
    LOAD_KEY_AS("start", start_ms, KEY_DURATION),
    LOAD_KEY_AS("for", for_ms, KEY_DURATION),
    LOAD_KEY_AS("timeout", timeout_ms, KEY_DURATION),
    LOAD_KEY(max_in_flight, KEY_COUNT, NULL),
    LOAD_KEY(computer, KEY_COUNT, NULL),
    LOAD_KEY(identities, KEY_CHOICE, identities),
    LOAD_KEY(input, KEY_CHOICE, inputs),
    LOAD_KEY(codec, KEY_CHOICE, codecs),
    LOAD_KEY(auth, KEY_CHOICE, auths),
    LOAD_KEY(request, KEY_BOOL, NULL),
    LOAD_KEY(method, KEY_TEXT, NULL),
    LOAD_KEY(path, KEY_TEXT, NULL),
    LOAD_KEY(authority, KEY_TEXT, NULL),
    LOAD_KEY(body, KEY_TEXT, NULL),
    LOAD_KEY(status, KEY_COUNT, NULL),
    LOAD_KEY(command, KEY_COMMAND, NULL),
    { NULL, KEY_TEXT, 0, NULL },
};

#define RUN_KEY(name, member, kind)                                                                \
    {                                                                                              \
        name, kind, offsetof(struct scenario, member), NULL                                        \
    }
static const struct key run_keys[] = {
    RUN_KEY("name", name, KEY_TEXT),
    RUN_KEY("about", about, KEY_TEXT),
    RUN_KEY("duration", duration_ms, KEY_DURATION),
    RUN_KEY("ramp", ramp_ms, KEY_DURATION),
    RUN_KEY("warmup", warmup_ms, KEY_DURATION),
    RUN_KEY("grace", grace_ms, KEY_DURATION),
    RUN_KEY("computers", computers, KEY_COUNT),
    RUN_KEY("sessions_per_computer", sessions, KEY_COUNT),
    { NULL, KEY_TEXT, 0, NULL },
};

struct reading {
    const char *file;
    struct scenario *scenario;
    yaml_document_t document;
    struct buf *out_error;
};

static enum status wrong(struct reading *r, const yaml_node_t *node, const char *format, ...)
    PRINTF_LIKE(3, 4);
static enum status wrong(struct reading *r, const yaml_node_t *node, const char *format, ...)
{
    va_list arguments;

    buf_printf(r->out_error, "%s:%zu:%zu: ", r->file, node->start_mark.line + 1,
               node->start_mark.column + 1);
    va_start(arguments, format);
    buf_vprintf(r->out_error, format, arguments);
    va_end(arguments);
    return STATUS_CONFIG_INVALID;
}

static const char *text_of(struct reading *r, const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE)
        return NULL;
    return arena_printf(&r->scenario->arena, "%.*s%c", (int)node->data.scalar.length,
                        node->data.scalar.value, 0)
        .ptr;
}

bool scenario_duration(const char *text, uint64_t *out_ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = { { "ms", 1 }, { "s", 1e3 }, { "m", 6e4 }, { "h", 36e5 } };
    char *end;
    double number = strtod(text, &end);

    for (size_t i = 0; i < 4 && end != text; i++) {
        if (strcmp(end, units[i].unit) == 0 && number >= 0 && number * units[i].ms <= 7 * 864e5) {
            *out_ms = (uint64_t)(number * units[i].ms);
            return true;
        }
    }
    return false;
}

static enum status read_choice(struct reading *r, const struct key *key, const yaml_node_t *node,
                               const char *text, int *out)
{
    struct buf all = { 0 };
    enum status status;

    for (int i = 0; key->choices[i] != NULL; i++) {
        buf_printf(&all, "%s%s", i > 0 ? ", " : "", key->choices[i]);
        if (strcmp(text, key->choices[i]) == 0) {
            *out = i;
            buf_deinit(&all);
            return STATUS_OK;
        }
    }
    status = wrong(r, node, "%s: expected one of %s, got \"%s\"", key->name, buf_text(&all), text);
    buf_deinit(&all);
    return status;
}

static enum status read_command(struct reading *r, const yaml_node_t *node, const char **out)
{
    size_t count = 0;

    if (node->type != YAML_SEQUENCE_NODE)
        return wrong(r, node, "command: expected a list of words");
    for (yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++) {
        const yaml_node_t *word = yaml_document_get_node(&r->document, *item);
        if (count == COMMAND_MAX || word->type != YAML_SCALAR_NODE)
            return wrong(r, word, "command: expected at most %d words", COMMAND_MAX);
        out[count++] = text_of(r, word);
    }
    return STATUS_OK;
}

static enum status read_scalar(struct reading *r, const struct key *key, const yaml_node_t *node,
                               char *place)
{
    const char *text = text_of(r, node);
    char *end;

    if (text == NULL)
        return wrong(r, node, "%s: expected a value", key->name);
    switch (key->kind) {
    case KEY_TEXT:
        *(const char **)(void *)place = text;
        return STATUS_OK;
    case KEY_COUNT:
        if (slice_to_u64(slice_from_string(text), (uint64_t *)(void *)place) &&
            *(uint64_t *)(void *)place <= 10000000)
            return STATUS_OK;
        return wrong(r, node, "%s: expected a whole number up to 10000000, got \"%s\"", key->name,
                     text);
    case KEY_NUMBER:
        *(double *)(void *)place = strtod(text, &end);
        if (end != text && *end == '\0' && *(double *)(void *)place >= 0 &&
            *(double *)(void *)place <= 1e7)
            return STATUS_OK;
        return wrong(r, node, "%s: expected a number from 0 to 10000000, got \"%s\"", key->name,
                     text);
    case KEY_BOOL:
        *(bool *)(void *)place = strcmp(text, "true") == 0;
        if (*(bool *)(void *)place || strcmp(text, "false") == 0)
            return STATUS_OK;
        return wrong(r, node, "%s: expected true or false, got \"%s\"", key->name, text);
    case KEY_DURATION:
        if (scenario_duration(text, (uint64_t *)(void *)place))
            return STATUS_OK;
        return wrong(r, node,
                     "%s: expected a duration such as 500ms, 10s or 5m, at most 7 days, got \"%s\"",
                     key->name, text);
    default:
        return read_choice(r, key, node, text, (int *)(void *)place);
    }
}

/* True when the pair was one of `keys`; *out_status says how that went. */
static bool read_pair(struct reading *r, const struct key *keys, const yaml_node_t *name,
                      const yaml_node_t *value, void *base, enum status *out_status)
{
    for (; keys->name != NULL; keys++) {
        if (name->type != YAML_SCALAR_NODE ||
            strcmp((const char *)name->data.scalar.value, keys->name) != 0)
            continue;
        *out_status =
            keys->kind == KEY_COMMAND
                ? read_command(r, value, (const char **)(void *)((char *)base + keys->offset))
                : read_scalar(r, keys, value, (char *)base + keys->offset);
        return true;
    }
    return false;
}

static const struct load load_defaults = {
    .connections = 4,
    .groups = 1,
    .events = 1,
    .event_bytes = 32,
    .open_ms = 1000,
    .timeout_ms = 10000,
    .max_in_flight = 100000,
    .computer = LOAD_ANY_COMPUTER,
    .method = "List",
    .path = "/",
    .body = "{}",
    .status = 200,
};

static enum status check_load(struct reading *r, const struct load *load, const yaml_node_t *node)
{
    bool holds = load_holds_sessions(load);

    if (load->name == NULL || strpbrk(load->name, ". <>=") != NULL)
        return wrong(r, node, "loads: each needs a name without dots and blanks");
    if (load->kind < 0)
        return wrong(r, node, "%s: kind is missing", load->name);
    if (holds && load->sessions == 0)
        return wrong(r, node, "%s: sessions: how many are held open?", load->name);
    if (load->kind != LOAD_STREAM && load->kind != LOAD_ATTACH && load->rate <= 0)
        return wrong(r, node, "%s: rate: how many a second?", load->name);
    if (load->connections == 0 || load->connections > 100000 || load->sessions > 1000000 ||
        load->groups == 0)
        return wrong(
            r, node,
            "%s: connections (1 to 100000), sessions (to 1000000) or groups (from 1) out of range",
            load->name);
    if ((load->kind == LOAD_STREAM || load->kind == LOAD_ATTACH) && load->event_bytes < 19)
        return wrong(r, node, "%s: bytes: an event carries a time stamp: 19 or more", load->name);
    if (load->event_bytes == 0 || load->event_bytes > 4096)
        return wrong(r, node, "%s: bytes: from 1 to 4096", load->name);
    return STATUS_OK;
}

static enum status read_load(struct reading *r, const yaml_node_t *node, struct load *load)
{
    enum status status = STATUS_OK;

    if (node->type != YAML_MAPPING_NODE)
        return wrong(r, node, "loads: expected a mapping");
    *load = load_defaults;
    load->kind = -1;
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         status == STATUS_OK && pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = yaml_document_get_node(&r->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(&r->document, pair->value);
        if (!read_pair(r, load_keys, name, value, load, &status))
            status = wrong(r, name, "loads: unknown key \"%s\"",
                           name->type == YAML_SCALAR_NODE ? text_of(r, name) : "?");
    }
    return status == STATUS_OK ? check_load(r, load, node) : status;
}

static enum status read_threshold(struct reading *r, const yaml_node_t *node, struct threshold *out)
{
    char load[64], metric[64], compare[3], more;
    const char *text = text_of(r, node);
    struct arena *arena = &r->scenario->arena;

    if (text == NULL ||
        sscanf(text, " %63[^. ].%63[a-z0-9_] %2[<>=] %lf %c", load, metric, compare, &out->bound,
               &more) != 4 ||
        strcmp(compare, "==") == 0 || strcmp(compare, "=") == 0)
        return wrong(r, node, "thresholds: expected \"LOAD.METRIC < NUMBER\" (or <=, >, >=)");
    out->text = text;
    out->load = arena_printf(arena, "%s%c", load, 0).ptr;
    out->metric = arena_printf(arena, "%s%c", metric, 0).ptr;
    out->compare = arena_printf(arena, "%s%c", compare, 0).ptr;
    return STATUS_OK;
}

static enum status read_list(struct reading *r, const yaml_node_t *node, bool is_loads)
{
    struct scenario *s = r->scenario;
    enum status status = STATUS_OK;

    if (node->type != YAML_SEQUENCE_NODE)
        return wrong(r, node, "expected a list");
    for (yaml_node_item_t *item = node->data.sequence.items.start;
         status == STATUS_OK && item < node->data.sequence.items.top; item++) {
        const yaml_node_t *value = yaml_document_get_node(&r->document, *item);
        if (is_loads ? s->load_count == LOADS_MAX : s->threshold_count == THRESHOLDS_MAX)
            return wrong(r, value, "too many");
        status = is_loads ? read_load(r, value, &s->loads[s->load_count++])
                          : read_threshold(r, value, &s->thresholds[s->threshold_count++]);
    }
    return status;
}

static enum status read_root(struct reading *r)
{
    const yaml_node_t *root = yaml_document_get_root_node(&r->document);
    enum status status = STATUS_OK;

    if (root == NULL || root->type != YAML_MAPPING_NODE) {
        buf_printf(r->out_error, "%s: expected a mapping", r->file);
        return STATUS_CONFIG_INVALID;
    }
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         status == STATUS_OK && pair < root->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = yaml_document_get_node(&r->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(&r->document, pair->value);
        const char *text = text_of(r, name);
        if (text != NULL && (strcmp(text, "loads") == 0 || strcmp(text, "thresholds") == 0))
            status = read_list(r, value, text[0] == 'l');
        else if (!read_pair(r, run_keys, name, value, r->scenario, &status))
            status = wrong(r, name, "unknown key \"%s\"", text != NULL ? text : "?");
    }
    if (status == STATUS_OK && r->scenario->load_count == 0)
        return wrong(r, root, "loads: at least one");
    if (status == STATUS_OK &&
        (r->scenario->duration_ms == 0 || r->scenario->warmup_ms >= r->scenario->duration_ms))
        return wrong(r, root, "duration: longer than nothing and than warmup");
    return status;
}

enum status scenario_read(const char *file, struct scenario *out, struct buf *out_error)
{
    struct reading r = { .file = file, .scenario = out, .out_error = out_error };
    yaml_parser_t parser;
    FILE *input = fopen(file, "re");
    enum status status;

    *out = (struct scenario){ .name = file,
                              .about = "",
                              .duration_ms = 10000,
                              .grace_ms = 3000,
                              .computers = 8,
                              .sessions = 4 };
    arena_init(&out->arena, NULL, 0);
    if (input == NULL) {
        buf_printf(out_error, "%s: %s", file, strerror(errno));
        return STATUS_CONFIG_INVALID;
    }
    yaml_parser_initialize(&parser);
    yaml_parser_set_input_file(&parser, input);
    if (yaml_parser_load(&parser, &r.document)) {
        status = read_root(&r);
        yaml_document_delete(&r.document);
    } else {
        buf_printf(out_error, "%s:%zu:%zu: %s", file, parser.problem_mark.line + 1,
                   parser.problem_mark.column + 1,
                   parser.problem != NULL ? parser.problem : "not YAML");
        status = STATUS_CONFIG_INVALID;
    }
    yaml_parser_delete(&parser);
    (void)fclose(input);
    return status;
}

void scenario_deinit(struct scenario *scenario)
{
    arena_deinit(&scenario->arena);
}

const char *load_kind_text(enum load_kind kind)
{
    return kinds[kind];
}

bool load_holds_sessions(const struct load *load)
{
    return load->kind == LOAD_STREAM || load->kind == LOAD_ECHO || load->kind == LOAD_ATTACH ||
           load->kind == LOAD_WEBSOCKET;
}
