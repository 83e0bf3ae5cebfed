/* proxy/exec_request.h — what a request to the exec host asks for: which method, in whose protocol,
 * with which token, for how long. Pure functions over a head; every slice is borrowed from it. */
#pragma once

#include "connect/process_message.h"
#include "http/message.h"

/* The protocol that the caller speaks, told by the content type; it decides the shape of every
 * answer of ours. */
enum caller {
    CALLER_HTTP,           /* none of the others: JSON errors */
    CALLER_PAGE,           /* a person with a browser: small HTML pages */
    CALLER_CONNECT_UNARY,  /* application/json, application/proto on a unary method */
    CALLER_CONNECT_STREAM, /* application/connect+… */
    CALLER_GRPC,
    CALLER_GRPC_WEB,
    CALLER_GRPC_WEB_TEXT,
    CALLER_PLAIN_JSON, /* application/json on Start or Connect: proxy/plain_json.h */
    CALLER_COUNT
};

const char *caller_text(enum caller caller); /* "connect_stream" */

enum exec_target { EXEC_TARGET_UNKNOWN, EXEC_TARGET_METHOD, EXEC_TARGET_HEALTH, EXEC_TARGET_ROOT };

struct exec_request {
    enum exec_target target;
    enum process_method method; /* of EXEC_TARGET_METHOD */
    enum caller caller;
    struct slice path;           /* the target without its query */
    struct slice query;          /* without '?', as sent */
    struct slice token;          /* empty: none */
    struct slice named_computer; /* X-Computer-Id, E2b-Sandbox-Id; empty: none */
    struct slice content_type;   /* as sent */
    uint64_t timeout_ms;         /* Connect-Timeout-Ms or grpc-timeout; 0: none */
    uint64_t wait_ms;            /* plain JSON: ?wait_ms=…; valid when has_wait_ms */
    uint32_t keepalive_s; /* Keepalive-Ping-Interval, clamped to 1–3600; 0: none, or rubbish */
    bool has_wait_ms;
    bool bearer_is_ours; /* Authorization carries the Bearer form: it is taken off */
    bool query_is_ours;  /* the query has parameters that are taken off */
    bool expects_continue;
};

/* Fills everything that can be told, also when it fails: the reply needs it. `out_words` (optional)
 * says more than the status does. Errors: PATH_UNKNOWN, METHOD_NOT_ALLOWED, TOKEN_DUPLICATE,
 * UNSUPPORTED_MEDIA, EXPECTATION_FAILED, MALFORMED. */
MUST_CHECK enum status exec_request_parse(const struct head *head, struct exec_request *out,
                                          const char **out_words);

/* A person opens this in a browser: what is answered is looked at. */
bool request_is_navigation(const struct head *head);

/* The target without our parameters (access_token; plain JSON: wait_ms): the head's own when there
 * are none. */
struct slice exec_request_target(const struct exec_request *request, struct slice target,
                                 struct arena *arena);

/* The query with the values of secret parameters replaced, for logs. */
void exec_request_log_target(struct slice target, struct buf *into);
