/* route/record.c — records from the fields of a hash. One table per kind says which fields there
 * are, where they go and how their text is read; the rest of the file walks these tables.
 *
 * A record is one block of memory: the struct, then the bytes of every text in it. */
#include "route/record.h"

#include <stdio.h>
#include <time.h>

#include "base/mem.h"
#include "net/address.h"

/* The block behind the public struct. */
struct record_block {
    struct record record; /* first */
    size_t text_bytes;
    char text[];
};

struct field_rule;
typedef bool field_read_fn(const struct field_rule *rule, struct slice value, void *out);

struct field_rule {
    const char *name;
    size_t offset; /* in struct record */
    field_read_fn *read;
    const char *const *words; /* read_word: in the order of the enum, NULL at the end */
    bool required;
};

_Static_assert(sizeof(enum computer_state) == sizeof(unsigned), "words are stored as unsigned");

static const char *const computer_states[] = { "running", "starting", "stopping",
                                               "stopped", "deleted",  NULL };
static const char *const agent_protocols[] = { "h2c", "http1", NULL };
static const char *const agent_tls_words[] = { "off", "on", "mutual", NULL };
static const char *const port_protocols[] = { "http1", "h2c", "auto", NULL };
static const char *const port_vias[] = { "agent", "direct", NULL };
static const char *const port_visibilities[] = { "public", "session", NULL };

static bool has_only(struct slice value, unsigned char lowest)
{
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.ptr[i] < lowest || value.ptr[i] == 0x7f)
            return false;
    return true;
}

static bool put_text(struct slice value, void *out)
{
    *(struct slice *)out = value;
    return true;
}

/* These may end up in header fields and log lines: no control characters. */
static bool read_text(const struct field_rule *rule, struct slice value, void *out)
{
    (void)rule;
    return has_only(value, 0x20) && put_text(value, out);
}

/* The same without blanks. */
static bool read_token(const struct field_rule *rule, struct slice value, void *out)
{
    (void)rule;
    return has_only(value, 0x21) && put_text(value, out);
}

static bool read_endpoint(const struct field_rule *rule, struct slice value, void *out)
{
    struct slice host;
    uint16_t port;

    return address_split(value, &host, &port) == STATUS_OK && host.len > 0 && port > 0 &&
           read_token(rule, value, out);
}

static bool read_word(const struct field_rule *rule, struct slice value, void *out)
{
    for (unsigned i = 0; rule->words[i] != NULL; i++) {
        if (slice_equal(value, slice_from_string(rule->words[i]))) {
            memcpy(out, &i, sizeof(i));
            return true;
        }
    }
    return false;
}

static bool read_port(const struct field_rule *rule, struct slice value, void *out)
{
    uint64_t number;

    (void)rule;
    if (!slice_to_u64(value, &number) || number < 1 || number > 65535)
        return false;
    *(uint16_t *)out = (uint16_t)number;
    return true;
}

/* "browser", "vnc", "browser,vnc". */
static bool read_kinds(const struct field_rule *rule, struct slice value, void *out)
{
    unsigned kinds = 0;

    (void)rule;
    while (value.len > 0) {
        struct slice word = slice_trim(slice_cut(&value, ','));

        if (slice_equal(word, SLICE("browser")))
            kinds |= PORT_KIND_BROWSER;
        else if (slice_equal(word, SLICE("vnc")))
            kinds |= PORT_KIND_VNC;
        else
            return false;
    }
    *(unsigned *)out = kinds;
    return kinds != 0;
}

/* "2026-01-02T03:04:05Z", ".250Z" and "+02:00" too. */
static bool read_rfc3339(const char *text, int64_t *out_ms)
{
    struct tm utc = { 0 };
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
    unsigned hours, minutes;
    int64_t offset_s = 0;
    int used = 0;

    if (rest == NULL)
        return false;
    if (*rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789"); /* an expiry needs no fractions */
    if (sscanf(rest, "%*1[+-]%2u:%2u%n", &hours, &minutes, &used) == 2 && used == 6) {
        offset_s = ((int64_t)hours * 60 + minutes) * (*rest == '-' ? -60 : 60);
        rest += used;
    } else if (*rest++ != 'Z') {
        return false;
    }
    *out_ms = ((int64_t)timegm(&utc) - offset_s) * 1000;
    return *rest == '\0';
}

static bool read_time(const struct field_rule *rule, struct slice value, void *out)
{
    char text[40];
    uint64_t seconds;

    (void)rule;
    if (slice_to_u64(value, &seconds)) {
        if (seconds >= UINT64_C(100000000000)) /* someone wrote milliseconds */
            return false;
        *(int64_t *)out = (int64_t)seconds * 1000;
        return true;
    }
    if (value.len >= sizeof(text))
        return false;
    return read_rfc3339(slice_to_string(value, text, sizeof(text)), out);
}

/* For `revoked`: whatever is not plainly false is true, so that no spelling of it opens a door. */
static bool read_flag(const struct field_rule *rule, struct slice value, void *out)
{
    (void)rule;
    *(bool *)out = !slice_equal(value, SLICE("0")) && !slice_equal_nocase(value, SLICE("false")) &&
                   !slice_equal_nocase(value, SLICE("no"));
    return true;
}

#define AT(member) offsetof(struct record, member)

static const struct field_rule computer_rules[] = {
    { "state", AT(computer.state), read_word, computer_states, true },
    { "agent", AT(computer.agent), read_endpoint, NULL, false },
    { "protocol", AT(computer.protocol), read_word, agent_protocols, false },
    { "tls", AT(computer.tls), read_word, agent_tls_words, false },
    { "agent_token", AT(computer.agent_token), read_token, NULL, false },
    { "boot", AT(computer.boot), read_text, NULL, false },
    { "handle", AT(computer.handle), read_text, NULL, false },
    { "owner", AT(computer.owner), read_text, NULL, false },
    { .name = NULL },
};

static const struct field_rule host_rules[] = {
    { "computer", AT(host.computer_id), read_token, NULL, true },
    { "port", AT(host.port), read_port, NULL, true },
    { "protocol", AT(host.protocol), read_word, port_protocols, false },
    { "via", AT(host.via), read_word, port_vias, false },
    { "visibility", AT(host.visibility), read_word, port_visibilities, false },
    { "kinds", AT(host.kinds), read_kinds, NULL, false },
    { "host_header", AT(host.host_header), read_token, NULL, false },
    { .name = NULL },
};

static const struct field_rule session_rules[] = {
    { "kind", AT(session.kind), read_token, NULL, false },
    { "computer", AT(session.computer_id), read_token, NULL, false },
    { "user", AT(session.user_id), read_text, NULL, false },
    { "expires_at", AT(session.expires_wall_ms), read_time, NULL, false },
    { "revoked", AT(session.revoked), read_flag, NULL, false },
    { .name = NULL },
};

static const struct {
    const char *name;
    const struct field_rule *rules;
    enum status missing;
} kinds_of_record[RECORD_KIND_COUNT] = {
    [RECORD_COMPUTER] = { "computer", computer_rules, STATUS_COMPUTER_UNKNOWN },
    [RECORD_HOST] = { "host", host_rules, STATUS_HOST_UNKNOWN },
    [RECORD_SESSION] = { "session", session_rules, STATUS_TOKEN_REVOKED },
};

static const struct field_rule *find_rule(enum record_kind kind, struct slice name)
{
    const struct field_rule *rule = kinds_of_record[kind].rules;

    while (rule->name != NULL && !slice_equal(name, slice_from_string(rule->name)))
        rule++;
    return rule->name != NULL ? rule : NULL;
}

static bool is_text(const struct field_rule *rule)
{
    return rule->read == read_text || rule->read == read_token || rule->read == read_endpoint;
}

static struct slice *text_of(const struct record *record, const struct field_rule *rule)
{
    return (struct slice *)(void *)((char *)(uintptr_t)record + rule->offset);
}

static struct slice take_text(struct record_block *block, struct slice text)
{
    struct slice taken = slice_of(block->text + block->text_bytes, text.len);

    if (text.len > 0)
        memcpy(block->text + block->text_bytes, text.ptr, text.len);
    block->text_bytes += text.len;
    return taken;
}

static struct record_block *block_create(enum record_kind kind, struct slice id, size_t text_bytes)
{
    struct record_block *block = mem_zeroed(sizeof(*block) + text_bytes);
    struct record *record = &block->record;

    record->kind = kind;
    record->ref_count = 1;
    record->id = take_text(block, id);
    for (const struct field_rule *rule = kinds_of_record[kind].rules; rule->name != NULL; rule++)
        if (is_text(rule))
            *text_of(record, rule) = SLICE_EMPTY;
    return block;
}

static void set_defaults(struct record_block *block)
{
    struct record *record = &block->record;

    if (record->kind != RECORD_HOST)
        return;
    record->host.protocol = PORT_AUTO;
    record->host.visibility = PORT_SESSION;
    record->host.kinds = PORT_KIND_BROWSER | PORT_KIND_VNC;
    record->host.host_header = take_text(block, SLICE("preserve"));
}

/* Returns the name of the wrong field, or NULL. */
static const char *read_fields(struct record_block *block, const struct record_field *fields,
                               size_t field_count)
{
    const struct field_rule *rules = kinds_of_record[block->record.kind].rules;
    unsigned seen = 0;

    for (size_t i = 0; i < field_count; i++) {
        const struct field_rule *rule = find_rule(block->record.kind, fields[i].name);
        void *out = rule != NULL ? (char *)&block->record + rule->offset : NULL;

        if (rule == NULL || fields[i].value.len == 0)
            continue;
        struct slice value = is_text(rule) ? take_text(block, fields[i].value) : fields[i].value;
        if ((seen & 1u << (rule - rules)) != 0 || !rule->read(rule, value, out))
            return rule->name;
        seen |= 1u << (rule - rules);
    }
    for (const struct field_rule *rule = rules; rule->name != NULL; rule++)
        if (rule->required && (seen & 1u << (rule - rules)) == 0)
            return rule->name;
    return NULL;
}

enum status record_from_fields(enum record_kind kind, struct slice id,
                               const struct record_field *fields, size_t field_count,
                               struct slice *out_wrong, struct record **out_record)
{
    size_t text_bytes = id.len + sizeof("preserve");

    for (size_t i = 0; i < field_count; i++)
        if (find_rule(kind, fields[i].name) != NULL)
            text_bytes += fields[i].value.len;

    struct record_block *block = block_create(kind, id, text_bytes);
    struct record *record = &block->record;

    set_defaults(block);
    const char *wrong = read_fields(block, fields, field_count);
    if (wrong == NULL && kind == RECORD_COMPUTER && record->computer.state == COMPUTER_RUNNING &&
        record->computer.agent.len == 0)
        wrong = "agent"; /* nobody could be reached */
    if (wrong == NULL) {
        *out_record = record;
        return STATUS_OK;
    }
    if (out_wrong != NULL)
        *out_wrong = slice_from_string(wrong);
    record_unref(&record);
    return STATUS_MALFORMED;
}

struct record *record_ref(struct record *record)
{
    record->ref_count++;
    return record;
}

void record_unref(struct record **record)
{
    struct record *r = *record;

    if (r == NULL)
        return;
    *record = NULL;
    ENSURE(r->ref_count > 0);
    if (--r->ref_count > 0)
        return;

    struct record_block *block = CONTAINER_OF(r, struct record_block, record);

    mem_wipe(block->text, block->text_bytes); /* agent_token is in it */
    mem_free(block);
}

struct record *record_copy(const struct record *record)
{
    const struct record_block *old = CONTAINER_OF(record, struct record_block, record);
    struct record_block *block = mem_alloc(sizeof(*block) + old->text_bytes);

    memcpy(block, old, sizeof(*block) + old->text_bytes);
    block->record.ref_count = 1;
    block->record.id.ptr = block->text + (record->id.ptr - old->text);
    for (const struct field_rule *rule = kinds_of_record[record->kind].rules; rule->name != NULL;
         rule++) {
        if (!is_text(rule))
            continue;
        struct slice text = *text_of(record, rule);
        *text_of(&block->record, rule) =
            text.len > 0 ? slice_of(block->text + (text.ptr - old->text), text.len) : SLICE_EMPTY;
    }
    return &block->record;
}

static bool texts_equal(const struct record *a, const struct record *b)
{
    for (const struct field_rule *rule = kinds_of_record[a->kind].rules; rule->name != NULL; rule++)
        if (is_text(rule) && !slice_equal(*text_of(a, rule), *text_of(b, rule)))
            return false;
    return true;
}

bool record_equal(const struct record *a, const struct record *b)
{
    if (a->kind != b->kind || !slice_equal(a->id, b->id) || !texts_equal(a, b))
        return false;
    switch (a->kind) {
    case RECORD_COMPUTER:
        return a->computer.state == b->computer.state &&
               a->computer.protocol == b->computer.protocol && a->computer.tls == b->computer.tls;
    case RECORD_HOST:
        return a->host.port == b->host.port && a->host.protocol == b->host.protocol &&
               a->host.via == b->host.via && a->host.visibility == b->host.visibility &&
               a->host.kinds == b->host.kinds;
    default:
        return a->session.expires_wall_ms == b->session.expires_wall_ms &&
               a->session.revoked == b->session.revoked;
    }
}

bool record_field_is_known(enum record_kind kind, struct slice name)
{
    return find_rule(kind, name) != NULL;
}

enum status record_missing_status(enum record_kind kind)
{
    return kinds_of_record[kind].missing;
}

const char *record_kind_text(enum record_kind kind)
{
    return kinds_of_record[kind].name;
}

const char *computer_state_text(enum computer_state state)
{
    return computer_states[state];
}
