/* config/config_schema.h — every key of the file as data: path, kind, default, bounds, words. One
 * table serves the reader, the defaults and the reference in docs/config.md, so that they cannot
 * drift apart. Private to config/. */
#pragma once

#include "config/config.h"

enum value_kind {
    VALUE_BOOL,     /* bool */
    VALUE_SIZE,     /* size_t: a whole number */
    VALUE_U32,      /* uint32_t: a whole number */
    VALUE_U64,      /* uint64_t: a whole number */
    VALUE_AUTO,     /* size_t: `auto` (0) or a whole number */
    VALUE_BYTES,    /* size_t: 65536, 64KiB, 1MiB, 1GiB */
    VALUE_DURATION, /* uint64_t milliseconds: 250ms, 10s, 5m, 2h */
    VALUE_TEXT,     /* const char * */
    VALUE_FILE,     /* const char *, relative to the folder of the config file */
    VALUE_CHOICE,   /* int: index into `choices` */
    VALUE_TEXTS,    /* struct config_texts */
    VALUE_NETWORKS, /* struct config_networks */
    VALUE_ADDRESS,  /* struct address */
    VALUE_LIST, /* pointer at `offset`, size_t count at `count_offset`; elements as `element` says
                 */
};

struct schema_list;

struct schema_key {
    const char *path; /* dotted */
    enum value_kind kind;
    size_t offset;
    const char *fallback; /* the default as it would stand in the file; NULL: none */
    uint64_t min, max;    /* of numbers; 0, 0: any */
    const char *const *choices;
    const struct schema_list *element;
    size_t count_offset;
    const char *words;
};

struct schema_list {
    const struct schema_key *keys;
    size_t key_count;
    size_t size; /* of one element, whose first member is its config_mark */
};

extern const struct schema_key config_schema[];
extern const size_t config_schema_count;

/* Reads one scalar into its place. False: `out_expected` (of 128 bytes) says what was expected. */
bool config_value_read(const struct schema_key *key, struct slice text, const char *folder,
                       struct arena *arena, void *base, char *out_expected);
/* The same for one item of VALUE_TEXTS or VALUE_NETWORKS: appends. */
bool config_value_append(const struct schema_key *key, struct slice text, struct arena *arena,
                         void *base, char *out_expected);

/* Sets every default of a struct described by `keys`. */
void config_defaults(const struct schema_key *keys, size_t count, struct arena *arena, void *base);

/* What reading remembers for checking: where each top-level key stood. */
struct config_reading {
    struct config *config;
    struct config_mark *marks; /* by index into config_schema */
    struct buf *out_error;
};

/* Writes "file:line:column: words" once; returns CONFIG_INVALID. */
enum status config_wrong(const struct config_reading *reading, struct config_mark mark,
                         const char *format, ...) PRINTF_LIKE(3, 4);
struct config_mark config_mark_of(const struct config_reading *reading, const char *path);

/* The first line of a file, owned; NULL when there is none. A secret: wipe it before it is freed. */
char *config_read_secret(const char *file);

MUST_CHECK enum status config_check_admin(const struct config_reading *reading);
MUST_CHECK enum status config_check(const struct config_reading *reading);
