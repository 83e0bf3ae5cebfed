/* proxy/plain_json.h — the plain-JSON form of Start and Connect (DESIGN §9): one JSON request
 * without envelope, and three kinds of answer, told by `Accept`:
 *
 *   application/x-ndjson   one event per line, as it comes:
 *                            {"event":"start","pid":123,"tag":"t"}
 *                            {"event":"data","stdout":"text"}            or "stderr", "pty"
 *                            {"event":"keepalive"}
 *                            {"event":"end","exit_code":0,"exited":true,"status":"exit status 0"}
 *                            {"event":"error","code":"unavailable","message":"…"}   in place of "end"
 *   text/event-stream      the same: `event: data`, `data: {"stdout":"text"}`; a keepalive is a comment
 *   anything else          one document when the process ends, or after wait_ms:
 *                            {"pid":123,"tag":null,"stdout":"…","stderr":"…","exit_code":0,"running":false}
 *                          PTY output stands in "stdout"; "status" and "error" as the agent said them, when
 *                          it did; after wait_ms: "exit_code":null,"running":true; too much output:
 *                          "truncated":true, too.
 *
 * Output is text when it is UTF-8 (a character that two events share goes with the second); else it
 * is base64, and "encoding":"base64" stands beside it (in a document: for stdout and stderr
 * together). Pure: bytes of the agent go in, bytes for the client come out. */
#pragma once

#include "connect/connect_code.h"
#include "connect/envelope.h"
#include "connect/process_message.h"

enum plain_kind { PLAIN_DOCUMENT, PLAIN_NDJSON, PLAIN_SSE };

enum plain_kind plain_json_kind(struct slice accept);
struct slice plain_json_content_type(enum plain_kind kind);

struct plain_request {
    struct slice tag; /* in the arena; empty: none */
    uint64_t wait_ms; /* the body's own "wait_ms"; valid when has_wait_ms */
    bool has_wait_ms;
};

/* Reads `body` and appends the one envelope (JSON) that the agent gets. Errors: MALFORMED, with
 * words in `out_error`. */
MUST_CHECK enum status plain_request_frame(enum process_method method, struct slice body,
                                           struct arena *arena, struct plain_request *out,
                                           struct buf *out_envelope, struct buf *out_error);

enum plain_output { PLAIN_STDOUT, PLAIN_STDERR, PLAIN_PTY, PLAIN_OUTPUT_COUNT };

struct plain_answer {
    enum plain_kind kind;
    size_t limit_bytes;
    struct slice tag; /* borrowed */
    struct envelope_reader reader;
    uint32_t pid;
    bool has_pid;
    bool has_end;      /* the process ended */
    bool is_truncated; /* document: limit_bytes of output were reached; no more is taken */
    bool exited;
    int32_t exit_code;
    enum connect_code error; /* how the agent ended its stream; CONNECT_OK: without an error */
    struct buf error_message;
    struct buf status_text, error_text; /* of the end event */
    struct buf output[2];               /* document: stdout (and PTY), stderr */
    unsigned char cut[PLAIN_OUTPUT_COUNT]
                     [4]; /* events: the start of a character whose rest is to come */
    uint8_t cut_len[PLAIN_OUTPUT_COUNT];
};

void plain_answer_init(struct plain_answer *answer, enum plain_kind kind, size_t limit_bytes);
void plain_answer_deinit(struct plain_answer *answer);

/* Bytes of the agent's application/connect+json body; events are appended to `into` at once.
 * Errors: AGENT_PROTOCOL. */
MUST_CHECK enum status plain_answer_feed(struct plain_answer *answer, struct slice bytes,
                                         struct buf *into);

/* Appends the document's members, without the braces. */
void plain_answer_append_document(const struct plain_answer *answer, struct buf *into);

/* Appends the event that stands for a failure; `members` is the inside of a JSON object. */
void plain_answer_append_error(struct plain_answer *answer, struct slice members, struct buf *into);
