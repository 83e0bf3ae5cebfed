/* auth/principal.h — who is asking: what a verified token says. Immutable; reference counted within
 * one worker. */
#pragma once

#include "base/slice.h"

enum principal_kind { PRINCIPAL_EXEC, PRINCIPAL_BROWSER, PRINCIPAL_VNC };

enum { CAPABILITY_PROCESS = 1u << 0 }; /* "process": the service process.Process */

struct principal {
    struct slice session_id;  /* sid; never empty */
    struct slice computer_id; /* cid; never empty */
    struct slice user_id;     /* sub; may be empty */
    struct slice port;        /* port number or label, in text; empty: every port */
    enum principal_kind kind;
    unsigned capabilities;
    int64_t expires_wall_ms; /* exp */
    size_t ref_count;
};

/* Returns owned: a copy of `from` and its texts, with one reference. */
struct principal *principal_create(const struct principal *from);
struct principal *principal_ref(struct principal *principal);
void principal_unref(
    struct principal **principal); /* sets *principal to NULL; may already be NULL */
