/* http/h1_parser.c — see h1_parser.h. A head is copied into the arena in one piece; names are
 * lower-cased there, values and the target are slices of it. */
#include "http/h1_parser.h"

enum {
    METHOD_BYTES = 32,
    CONNECTION_FIELDS = 4, /* Connection fields of one head; nobody honest sends two */
    VERSION_LEN = 8,
};

struct parse {
    const struct http_limits *limits;
    struct arena *arena;
    struct head *head;
    struct h1_framing *framing;
    bool is_request;
    size_t field_bytes;
    size_t field_count; /* without cookies */
    size_t crumb_count;
    size_t host_count;
    size_t length_count;
    size_t coding_count;
    size_t upgrade_count;
    size_t connection_count;
    struct slice host;
    struct slice coding;
    struct slice upgrade;
    struct slice connections[CONNECTION_FIELDS];
    bool says_close, says_keep_alive, says_upgrade, names_fields;
};

/* ---- lines ---- */

enum status h1_scan_head(struct h1_scan *scan, struct slice bytes, size_t *out_len)
{
    while (scan->scanned < bytes.len) {
        struct slice rest = slice_skip(bytes, scan->scanned);
        size_t at = slice_find(rest, '\n');

        if (at == rest.len) {
            scan->scanned = bytes.len;
            return STATUS_AGAIN;
        }
        size_t end = scan->scanned + at; /* of the line: its LF */
        if (end == scan->line_start || bytes.ptr[end - 1] != '\r')
            return STATUS_MALFORMED;
        scan->scanned = end + 1;
        if (end - scan->line_start == 1) {
            *out_len = end + 1;
            return STATUS_OK;
        }
        scan->line_start = end + 1;
        scan->line_count++;
    }
    return STATUS_AGAIN;
}

/* The next line without CRLF; *rest goes on behind it. The scanner has seen that every line has
 * one. */
static struct slice take_line(struct slice *rest)
{
    struct slice line = slice_cut(rest, '\n');

    if (line.len > 0)
        line.len--;
    return line;
}

/* Splits "name: value"; lower-cases the name in place, which is our copy. */
static enum status split_field(struct slice line, bool is_request, struct slice *out_name,
                               struct slice *out_value)
{
    char *bytes = (char *)(uintptr_t)line.ptr;
    bool has_underscore = false;
    size_t i = 0;

    for (; i < line.len && bytes[i] != ':'; i++) {
        unsigned char c = token_lower_case[(unsigned char)bytes[i]];
        if (c == 0) /* a blank before the colon, a folded line, a CTL … */
            return STATUS_MALFORMED;
        has_underscore |= c == '_';
        bytes[i] = (char)c;
    }
    if (i == 0 || i == line.len || (is_request && has_underscore))
        return STATUS_MALFORMED;
    *out_name = slice_first(line, i);
    *out_value = slice_trim(slice_skip(line, i + 1));
    return is_field_value(*out_value) ? STATUS_OK : STATUS_MALFORMED;
}

static enum status count_field(struct parse *p, enum field_id id, size_t len)
{
    const struct http_limits *limits = p->limits;

    p->field_bytes += len + 32;
    if (id == FIELD_COOKIE)
        p->crumb_count++;
    else
        p->field_count++;
    if (p->field_count > limits->fields_soft || p->crumb_count > limits->cookie_crumbs ||
        p->field_bytes > limits->field_bytes_soft)
        return STATUS_HEADERS_TOO_LARGE;
    return STATUS_OK;
}

/* ---- fields with a meaning for the connection ---- */

static enum status take_length(struct parse *p, struct slice value)
{
    uint64_t length;

    if (p->length_count++ > 0 || value.len > 19 || !slice_to_u64(value, &length) ||
        length > INT64_MAX)
        return STATUS_MALFORMED;
    p->head->content_length = (int64_t)length;
    fields_add(&p->head->fields, p->arena, FIELD_CONTENT_LENGTH, value);
    return STATUS_OK;
}

static enum status take_connection(struct parse *p, struct slice value)
{
    if (p->connection_count == CONNECTION_FIELDS)
        return STATUS_MALFORMED;
    p->connections[p->connection_count++] = value;
    while (value.len > 0) {
        struct slice option = slice_trim(slice_cut(&value, ','));

        if (option.len == 0)
            continue;
        if (!is_token(option))
            return STATUS_MALFORMED;
        if (slice_equal_nocase(option, SLICE("close")))
            p->says_close = true;
        else if (slice_equal_nocase(option, SLICE("keep-alive")))
            p->says_keep_alive = true;
        else if (slice_equal_nocase(option, SLICE("upgrade")))
            p->says_upgrade = true;
        else
            p->names_fields = true;
    }
    return STATUS_OK;
}

static enum status take_expect(struct parse *p, struct slice value)
{
    if (!p->is_request)
        return STATUS_OK;
    if (p->framing->expects_continue || !slice_equal_nocase(value, SLICE("100-continue")))
        return STATUS_EXPECTATION_FAILED;
    p->framing->expects_continue = true;
    return STATUS_OK;
}

static enum status take_field(struct parse *p, enum field_id id, struct slice name,
                              struct slice value)
{
    switch (id) {
    case FIELD_HOST:
        if (!p->is_request)
            return STATUS_OK;
        p->host = value;
        return p->host_count++ == 0 ? STATUS_OK : STATUS_MALFORMED;
    case FIELD_CONTENT_LENGTH:
        return take_length(p, value);
    case FIELD_TRANSFER_ENCODING:
        p->coding = value;
        return p->coding_count++ == 0 ? STATUS_OK : STATUS_MALFORMED;
    case FIELD_CONNECTION:
        return take_connection(p, value);
    case FIELD_EXPECT:
        return take_expect(p, value);
    case FIELD_UPGRADE:
        p->upgrade = value;
        return p->upgrade_count++ == 0 ? STATUS_OK : STATUS_MALFORMED;
    case FIELD_HTTP2_SETTINGS:
        return p->is_request ? STATUS_MALFORMED : STATUS_OK;
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
        return STATUS_OK;
    default:
        if (id == FIELD_OTHER)
            fields_add_named(&p->head->fields, p->arena, name, value);
        else
            fields_add(&p->head->fields, p->arena, id, value);
        return STATUS_OK;
    }
}

static void remove_fields(struct fields *fields, struct slice name)
{
    size_t kept = 0;

    for (size_t i = 0; i < fields->count; i++)
        if (!slice_equal_nocase(fields->items[i].name, name))
            fields->items[kept++] = fields->items[i];
    fields->count = kept;
}

/* What Connection names stays on this connection. A request that names away what frames, routes or
 * authorises it is an attack; a response may say what it likes, but keeps its length. */
static enum status drop_named_fields(struct parse *p)
{
    for (size_t i = 0; i < p->connection_count; i++) {
        struct slice rest = p->connections[i];

        while (rest.len > 0) {
            struct slice name = slice_trim(slice_cut(&rest, ','));
            char lower[64];
            enum field_id id = FIELD_OTHER;

            if (name.len == 0)
                continue;
            if (name.len <= sizeof(lower)) {
                for (size_t k = 0; k < name.len; k++)
                    lower[k] = (char)token_lower_case[(unsigned char)name.ptr[k]];
                id = field_id_of(slice_of(lower, name.len));
            }
            if (field_is_hop_by_hop(id) || id == FIELD_TRAILER || id == FIELD_CONTENT_LENGTH) {
                if (p->is_request && id == FIELD_CONTENT_LENGTH)
                    return STATUS_MALFORMED;
                continue;
            }
            if (p->is_request && id != FIELD_OTHER)
                return STATUS_MALFORMED;
            remove_fields(&p->head->fields, name);
        }
    }
    return STATUS_OK;
}

static enum status parse_fields(struct parse *p, struct slice rest)
{
    while (rest.len > 0) {
        struct slice line = take_line(&rest), name, value;

        if (line.len == 0)
            break;
        enum status status = split_field(line, p->is_request, &name, &value);
        if (status != STATUS_OK)
            return status;
        enum field_id id = field_id_of(name);
        status = count_field(p, id, name.len + value.len);
        if (status == STATUS_OK)
            status = take_field(p, id, name, value);
        if (status != STATUS_OK)
            return status;
    }
    return p->names_fields ? drop_named_fields(p) : STATUS_OK;
}

static enum status check_coding(struct parse *p)
{
    if (p->coding_count == 0)
        return STATUS_OK;
    if (p->framing->version == HTTP_1_0 || p->length_count > 0)
        return STATUS_MALFORMED;
    if (!slice_equal_nocase(p->coding, SLICE("chunked")))
        return p->is_request ? STATUS_UNSUPPORTED : STATUS_MALFORMED;
    p->framing->is_chunked = true;
    return STATUS_OK;
}

static void decide_keep_alive(struct parse *p)
{
    p->framing->keep_alive =
        !p->says_close && (p->framing->version == HTTP_1_1 || p->says_keep_alive);
}

/* ---- request line ---- */

static enum status parse_version(struct slice text, enum http_version *out_version)
{
    if (text.len != VERSION_LEN || !slice_starts_with(text, SLICE("HTTP/")) || text.ptr[6] != '.' ||
        text.ptr[5] < '0' || text.ptr[5] > '9' || text.ptr[7] < '0' || text.ptr[7] > '9')
        return STATUS_MALFORMED;
    if (text.ptr[5] != '1' || text.ptr[7] > '1')
        return STATUS_VERSION_UNSUPPORTED;
    *out_version = text.ptr[7] == '1' ? HTTP_1_1 : HTTP_1_0;
    return STATUS_OK;
}

static enum status check_method(struct slice method, bool allow_connect)
{
    for (size_t i = 0; i < method.len; i++)
        if (token_lower_case[(unsigned char)method.ptr[i]] == 0)
            return STATUS_MALFORMED;
    if (method.len == 0)
        return STATUS_MALFORMED;
    if (method.len > METHOD_BYTES || method_has_lower_case(method))
        return STATUS_UNSUPPORTED;
    if (slice_equal(method, SLICE("TRACE")))
        return STATUS_METHOD_NOT_ALLOWED;
    if (slice_equal(method, SLICE("CONNECT")) && !allow_connect)
        return STATUS_UNSUPPORTED;
    return STATUS_OK;
}

static bool is_authority(struct slice text, struct slice scheme, struct arena *arena,
                         struct slice *out_normal)
{
    return authority_normalize(text, scheme, arena, out_normal) == STATUS_OK;
}

/* `other`: NULL when there is nothing to compare with. */
static bool is_same_authority(struct slice a, const struct slice *other, struct slice scheme)
{
    char memory[600];
    struct arena arena;
    struct slice normal, normal_other;

    arena_init(&arena, memory, sizeof(memory));
    bool same = is_authority(a, scheme, &arena, &normal) &&
                (other == NULL || (is_authority(*other, scheme, &arena, &normal_other) &&
                                   slice_equal(normal, normal_other)));
    arena_deinit(&arena);
    return same;
}

/* "http://host/path?query": the authority ends at the first '/' or '?'. */
static enum status parse_absolute(struct parse *p, struct slice target)
{
    size_t prefix = slice_starts_with_nocase(target, SLICE("http://"))    ? 7
                    : slice_starts_with_nocase(target, SLICE("https://")) ? 8
                                                                          : 0;
    if (prefix == 0)
        return STATUS_MALFORMED;

    struct slice rest = slice_skip(target, prefix);
    size_t end = slice_find(rest, '/');
    size_t query = slice_find(rest, '?');

    end = query < end ? query : end;
    p->head->authority = slice_first(rest, end);
    p->head->target = slice_skip(rest, end);
    if (end == query || end == rest.len) { /* an empty path is "/" */
        char *text = arena_bytes(p->arena, rest.len - end + 1);
        text[0] = '/';
        if (rest.len > end)
            memcpy(text + 1, rest.ptr + end, rest.len - end);
        p->head->target = slice_of(text, rest.len - end + 1);
    }
    return STATUS_OK;
}

static enum status parse_target(struct parse *p, struct slice target)
{
    if (target.len > p->limits->target_bytes)
        return STATUS_TARGET_TOO_LONG;
    if (target.len == 0)
        return STATUS_MALFORMED;
    for (size_t i = 0; i < target.len; i++)
        if (target.ptr[i] < 0x21 || target.ptr[i] > 0x7e || target.ptr[i] == '#')
            return STATUS_MALFORMED;
    p->framing->is_connect = slice_equal(p->head->method, SLICE("CONNECT"));
    if (p->framing->is_connect) {
        p->head->authority = target;
        return slice_find(target, ':') < target.len ? STATUS_OK : STATUS_MALFORMED;
    }
    if (target.ptr[0] != '/' && !slice_equal(target, SLICE("*")))
        return parse_absolute(p, target);
    p->head->target = target;
    return target.ptr[0] == '/' || slice_equal(p->head->method, SLICE("OPTIONS"))
               ? STATUS_OK
               : STATUS_MALFORMED;
}

static enum status parse_request_line(struct parse *p, struct slice line, bool allow_connect)
{
    struct slice method = slice_cut(&line, ' ');
    size_t blank = slice_find(line, ' ');

    if (blank == line.len) /* HTTP/0.9, or no HTTP at all */
        return line.len > p->limits->target_bytes ? STATUS_TARGET_TOO_LONG : STATUS_MALFORMED;

    enum status status = check_method(method, true);
    if (status == STATUS_OK)
        p->head->method = method;
    if (status == STATUS_OK)
        status = parse_version(slice_skip(line, blank + 1), &p->framing->version);
    if (status == STATUS_OK)
        status = parse_target(p, slice_first(line, blank));
    return status == STATUS_OK ? check_method(method, allow_connect) : status;
}

enum status h1_check_request_line(struct slice line, const struct h1_rules *rules)
{
    struct head head = { .content_length = CONTENT_LENGTH_UNKNOWN };
    struct h1_framing framing = { 0 };
    char memory[64];
    struct arena arena;

    arena_init(&arena, memory, sizeof(memory));
    struct parse p = {
        .limits = rules->limits, .arena = &arena, .head = &head, .framing = &framing
    };
    enum status status =
        parse_request_line(&p, slice_first(line, line.len - 2), rules->allow_connect);
    arena_deinit(&arena);
    return status;
}

/* ---- requests ---- */

static enum status check_host(struct parse *p, struct slice scheme)
{
    struct slice said = p->head->authority;
    bool is_origin_form = said.ptr == NULL;

    if (p->host_count != 1 || !is_same_authority(p->host, is_origin_form ? NULL : &said, scheme))
        return STATUS_MALFORMED;
    if (is_origin_form)
        p->head->authority = p->host;
    return STATUS_OK;
}

static enum status check_upgrade(struct parse *p)
{
    struct slice rest = p->upgrade;

    while (rest.len > 0)
        if (slice_starts_with_nocase(slice_trim(slice_cut(&rest, ',')), SLICE("h2")))
            return STATUS_UNSUPPORTED;
    if (!slice_equal_nocase(p->upgrade, SLICE("websocket")) || !p->says_upgrade ||
        p->framing->version == HTTP_1_0)
        return STATUS_OK; /* something that we do not speak: the request goes on without it */
    if (!slice_equal(p->head->method, SLICE("GET")) || p->framing->is_chunked ||
        p->head->content_length > 0)
        return STATUS_MALFORMED;
    p->head->protocol = SLICE("websocket");
    p->framing->is_upgrade = true;
    return STATUS_OK;
}

/* Expect counts only where there is a body to wait for; elsewhere the field has no sense. */
static void settle_expect(struct parse *p)
{
    struct h1_framing *framing = p->framing;

    if (!framing->expects_continue)
        return;
    if (framing->version == HTTP_1_0 || (!framing->is_chunked && p->head->content_length <= 0))
        framing->expects_continue = false;
    else
        fields_add(&p->head->fields, p->arena, FIELD_EXPECT, SLICE("100-continue"));
}

static enum status check_connect(struct parse *p)
{
    if (!p->framing->is_connect)
        return STATUS_OK;
    return p->framing->is_chunked || p->head->content_length > 0 || p->framing->is_upgrade
               ? STATUS_MALFORMED
               : STATUS_OK;
}

enum status h1_parse_request(struct slice bytes, const struct h1_rules *rules, struct arena *arena,
                             struct head *out_head, struct h1_framing *out_framing)
{
    struct slice rest = arena_copy(arena, bytes);
    struct slice line = take_line(&rest);
    struct parse p = {
        .limits = rules->limits,
        .arena = arena,
        .head = out_head,
        .framing = out_framing,
        .is_request = true,
    };

    *out_head = (struct head){ .scheme = rules->scheme, .content_length = CONTENT_LENGTH_UNKNOWN };
    *out_framing = (struct h1_framing){ .version = HTTP_1_1 };
    enum status status = parse_request_line(&p, line, rules->allow_connect);
    if (status == STATUS_OK)
        status = parse_fields(&p, rest);
    if (status == STATUS_OK)
        status = check_coding(&p);
    if (status == STATUS_OK)
        status = check_host(&p, rules->scheme);
    if (status == STATUS_OK)
        status = check_upgrade(&p);
    if (status == STATUS_OK)
        status = check_connect(&p);
    settle_expect(&p);
    decide_keep_alive(&p);
    return status;
}

/* ---- responses and trailers ---- */

static enum status parse_status_line(struct parse *p, struct slice line)
{
    if (line.len < VERSION_LEN + 4 || line.ptr[VERSION_LEN] != ' ' ||
        (line.len > VERSION_LEN + 4 && line.ptr[VERSION_LEN + 4] != ' '))
        return STATUS_MALFORMED;

    uint64_t number;
    struct slice digits = slice_of(line.ptr + VERSION_LEN + 1, 3);

    if (!slice_to_u64(digits, &number) || number < 100 || number > 599 ||
        !is_field_value(slice_trim(line)) ||
        parse_version(slice_first(line, VERSION_LEN), &p->framing->version) != STATUS_OK)
        return STATUS_MALFORMED;
    p->head->status = (unsigned)number;
    return STATUS_OK;
}

enum status h1_parse_response(struct slice bytes, const struct http_limits *limits,
                              struct arena *arena, struct head *out_head,
                              struct h1_framing *out_framing)
{
    struct slice rest = arena_copy(arena, bytes);
    struct slice line = take_line(&rest);
    struct parse p = { .limits = limits, .arena = arena, .head = out_head, .framing = out_framing };

    *out_head = (struct head){ .content_length = CONTENT_LENGTH_UNKNOWN };
    *out_framing = (struct h1_framing){ .version = HTTP_1_1 };
    enum status status = parse_status_line(&p, line);
    if (status == STATUS_OK)
        status = parse_fields(&p, rest);
    if (status == STATUS_OK)
        status = check_coding(&p);
    if (status != STATUS_OK)
        return status;
    if (slice_equal_nocase(p.upgrade, SLICE("websocket"))) {
        out_head->protocol = SLICE("websocket");
        out_framing->is_upgrade = p.says_upgrade;
    }
    decide_keep_alive(&p);
    return STATUS_OK;
}

static bool may_trail(enum field_id id)
{
    switch (id) {
    case FIELD_CONTENT_LENGTH:
    case FIELD_HOST:
    case FIELD_AUTHORIZATION:
    case FIELD_X_ACCESS_TOKEN:
    case FIELD_COOKIE:
    case FIELD_EXPECT:
        return false;
    default:
        return !field_is_hop_by_hop(id);
    }
}

enum status h1_parse_trailers(struct slice bytes, const struct http_limits *limits,
                              struct arena *arena, struct fields *out_fields)
{
    struct slice rest = arena_copy(arena, bytes);
    struct head head = { 0 };
    struct parse p = { .limits = limits, .arena = arena, .head = &head };

    while (rest.len > 0) {
        struct slice line = take_line(&rest), name, value;

        if (line.len == 0)
            break;
        enum status status = split_field(line, true, &name, &value);
        if (status != STATUS_OK)
            return status;
        enum field_id id = field_id_of(name);
        if (!may_trail(id))
            return STATUS_MALFORMED;
        status = count_field(&p, id, name.len + value.len);
        if (status != STATUS_OK)
            return status;
        fields_add_named(&head.fields, arena, name, value);
    }
    *out_fields = head.fields;
    return STATUS_OK;
}
