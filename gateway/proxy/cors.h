/* proxy/cors.h — cross-origin access to the exec host (Fetch standard §3.2): which origins may read
 * our answers, and the preflight's answer. The host takes no cookies, so no credentials are ever
 * allowed. */
#pragma once

#include "http/message.h"

struct cors_policy {
    const char *const *origins; /* borrowed; "*": every origin */
    size_t origin_count;
};

/* "*", the request's own Origin when it is listed, or empty: the request has none, or may not read
 * us. */
struct slice cors_allowed_origin(const struct cors_policy *policy, const struct fields *request);

/* Adds what lets a script of `origin` (from the function above; empty: adds nothing) read this
 * answer. */
void cors_add_fields(struct slice origin, struct arena *arena, struct fields *into);

/* Is it a CORS preflight (OPTIONS with Origin and Access-Control-Request-Method)? */
bool cors_is_preflight(const struct head *request);
void cors_add_preflight_fields(struct slice origin, struct arena *arena, struct fields *into);
