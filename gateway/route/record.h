/* route/record.h — what the registry says of one computer, one published host or one session
 * (DESIGN §7). Immutable; reference counted within one worker. All slices live in the record. */
#pragma once

#include "base/slice.h"
#include "base/status.h"

enum record_kind { RECORD_COMPUTER, RECORD_HOST, RECORD_SESSION, RECORD_KIND_COUNT };

enum computer_state {
    COMPUTER_RUNNING,
    COMPUTER_STARTING,
    COMPUTER_STOPPING,
    COMPUTER_STOPPED,
    COMPUTER_DELETED
};
enum agent_protocol { AGENT_H2C, AGENT_HTTP1 };
enum agent_tls { AGENT_TLS_OFF, AGENT_TLS_ON, AGENT_TLS_MUTUAL };

struct computer {
    enum computer_state state;
    struct slice agent; /* host:port */
    enum agent_protocol protocol;
    enum agent_tls tls;
    struct slice agent_token; /* a secret; empty: none */
    struct slice boot;
    struct slice handle;
    struct slice owner;
};

enum port_protocol { PORT_HTTP1, PORT_H2C, PORT_AUTO };
enum port_via { PORT_VIA_AGENT, PORT_VIA_DIRECT };
enum port_visibility { PORT_PUBLIC, PORT_SESSION };
enum { PORT_KIND_BROWSER = 1u << 0, PORT_KIND_VNC = 1u << 1 };

struct host {
    struct slice computer_id;
    uint16_t port;
    enum port_protocol protocol;
    enum port_via via;
    enum port_visibility visibility; /* absent: session */
    unsigned kinds;                  /* absent: both */
    struct slice host_header;        /* "preserve" (absent), "localhost" or a value */
};

struct session {
    struct slice kind;
    struct slice computer_id;
    struct slice user_id;
    int64_t expires_wall_ms; /* 0: not said */
    bool revoked;
};

struct record {
    enum record_kind kind;
    size_t ref_count;
    struct slice id;
    union {
        struct computer computer;
        struct host host;
        struct session session;
    };
};

struct record *record_ref(struct record *record);
void record_unref(struct record **record); /* sets *record to NULL; may already be NULL */

/* Returns an owned record that shares nothing with `record`: how one crosses threads. */
struct record *record_copy(const struct record *record);

/* Same kind, id and value of every field. */
bool record_equal(const struct record *a, const struct record *b);

struct record_field {
    struct slice name, value;
};

/* Builds a record from the fields of its hash. Unknown fields are ignored (the control plane may be
 * newer), values that are not understood, missing and repeated fields are errors, an empty value is
 * an absent field; `out_wrong` (optional) then names the field (static text). `expires_at` is Unix
 * seconds or RFC 3339; `revoked` is false only when it plainly says so. Returns owned. Errors:
 * MALFORMED. */
MUST_CHECK enum status record_from_fields(enum record_kind kind, struct slice id,
                                          const struct record_field *fields, size_t field_count,
                                          struct slice *out_wrong, struct record **out_record);

/* For sources that are written by hand, where an unknown name is a slip. */
bool record_field_is_known(enum record_kind kind, struct slice name);

/* What a look-up of an absent record gives: COMPUTER_UNKNOWN, HOST_UNKNOWN, TOKEN_REVOKED. */
enum status record_missing_status(enum record_kind kind);

const char *record_kind_text(enum record_kind kind); /* "computer" */
const char *computer_state_text(enum computer_state state);
