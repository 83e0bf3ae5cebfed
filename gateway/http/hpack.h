/* http/hpack.h — header compression (RFC 7541), both directions of one connection. Reading gives each
 * field with the number of its name (enum field_id, or one of the pseudo names below) and says whether
 * name and value are fit to be forwarded, so that neither is looked up or checked again for what the
 * tables hold. Private to this folder. */
#pragma once

#include "http/message.h"

/* RFC 9113 §8.3; numbers behind those of enum field_id. */
enum hpack_name {
    HPACK_AUTHORITY = FIELD_COUNT,
    HPACK_METHOD,
    HPACK_PATH,
    HPACK_PROTOCOL,
    HPACK_SCHEME,
    HPACK_STATUS,
    HPACK_PSEUDO_UNKNOWN,
    HPACK_NAME_COUNT
};

enum { HPACK_TABLE_BYTES = 4096 }; /* SETTINGS_HEADER_TABLE_SIZE: the initial value, never raised */

struct hpack_field {
    struct slice name; /* as sent */
    struct slice value;
    unsigned id;         /* enum field_id or enum hpack_name */
    bool is_name_valid;  /* a lower-case token, or a pseudo name */
    bool is_value_valid; /* see is_field_value() */
};

struct hpack_entry {
    uint32_t at; /* of its name in all text so far; the value follows */
    uint32_t name_len, value_len;
    uint32_t older; /* writing: the number of the entry before it that has the same id */
    unsigned char id;
    bool is_name_valid, is_value_valid;
};

/* §2.3.2, oldest entry out first. Takes memory as entries come. */
struct hpack_table {
    struct hpack_entry *entries; /* entry number n rests at n % capacity, a power of two */
    uint32_t capacity;
    uint32_t inserted; /* so far: the number of the newest */
    uint32_t count;
    char *text;
    uint32_t text_capacity;
    uint32_t text_at;  /* where in all text `text` begins */
    uint32_t text_end; /* behind the newest entry */
    uint32_t size_bytes, limit_bytes;
};

struct hpack_decoder {
    struct hpack_table table;
};

struct hpack_encoder {
    struct hpack_table table;
    uint32_t newest[HPACK_NAME_COUNT]; /* entry of each id; FIELD_OTHER: of all names without one */
    uint32_t smallest_limit;           /* since the last block */
    bool limit_changed;
};

void hpack_decoder_init(struct hpack_decoder *decoder);
void hpack_decoder_deinit(struct hpack_decoder *decoder);

/* The field's slices live until it returns. False: enough, the rest of the block is not read. */
typedef bool hpack_field_fn(void *arg, const struct hpack_field *field);

/* A whole header block. MALFORMED: COMPRESSION_ERROR (RFC 9113 §4.3), the connection's tables are lost. */
MUST_CHECK enum status hpack_decode(struct hpack_decoder *decoder, struct slice block,
                                    hpack_field_fn *on_field, void *arg);

void hpack_encoder_init(struct hpack_encoder *encoder);
void hpack_encoder_deinit(struct hpack_encoder *encoder);
/* SETTINGS_HEADER_TABLE_SIZE of the peer; what is above HPACK_TABLE_BYTES is not used. */
void hpack_encoder_limit(struct hpack_encoder *encoder, uint32_t limit_bytes);

enum hpack_policy {
    HPACK_INDEX,
    HPACK_LITERAL,       /* different in every message: it would only push out what repeats */
    HPACK_NEVER_INDEXED, /* secrets: in no table of any hop (§7.1.3) */
};

/* Bytes that one field may take, and what stands before the first. */
static inline size_t hpack_room(struct slice name, struct slice value)
{
    return name.len + value.len + 16;
}
enum { HPACK_BEGIN_ROOM = 12 };

/* Before the first field of a block: says what limit holds when it was changed (§4.2). */
char *hpack_begin(struct hpack_encoder *encoder, char *out);
/* Writes one field, returns behind it. `id` as in hpack_field, `name` in lower case. */
char *hpack_encode(struct hpack_encoder *encoder, char *out, unsigned id, struct slice name,
                   struct slice value, enum hpack_policy policy);
