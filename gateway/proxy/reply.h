/* proxy/reply.h — a status becomes an answer in the protocol of the caller (DESIGN §10):
 *
 *   connect unary, plain JSON, HTTP   HTTP status, {"code","message","details"}
 *   connect stream                     200, one END_STREAM envelope with the error
 *   gRPC                               200, trailers only
 *   gRPC-Web                           200, the trailers as fields
 *   page                               a small HTML page
 *
 * and, when the head has gone already, the end of the stream that the protocol has for it. */
#pragma once

#include "connect/connect_code.h"
#include "http/exchange.h"
#include "proxy/exec_request.h"

struct reply {
    enum status status;
    enum caller caller;
    const char *words;      /* NULL: the status's own */
    enum connect_code code; /* CONNECT_OK: the status's own */
    unsigned http;          /* 0: the status's own */
    struct slice request_id;
    struct slice content_type; /* of the request: streams and gRPC answer in kind */
    struct slice cors_origin;  /* cors_allowed_origin() */
    struct slice allow;        /* of METHOD_NOT_ALLOWED */
    bool maybe_delivered;      /* did the agent possibly see the request? */
    bool is_head_request;
    bool comes_again; /* ports: the page asks again by itself, since what keeps it passes */
    bool is_agents;   /* the error is the agent's own: nothing of ours is said about it */
    /* Published ports (port_page.h): people get a page that says whose fault it is, programs one more
     * member, "error". */
    bool is_port;
    struct slice host; /* as asked for */
    uint16_t port;     /* 0: not known */
};

/* Sends head, body and end. Nothing may have been sent before. */
void reply_send(struct exchange *client, const struct reply *reply);

/* A head with the fields that every answer of ours carries; they live in the client's arena. */
void reply_begin_head(struct exchange *client, const struct reply *reply, unsigned http,
                      struct head *out);

/* Adds what every error carries: X-Gateway-Error, X-Gateway-Delivered, Retry-After,
 * WWW-Authenticate … */
void reply_add_error_fields(struct exchange *client, const struct reply *reply, struct head *head);

/* Sends a whole answer of ours that is no error; `body` may be empty. The head comes from
 * reply_begin_head(). */
void reply_send_body(struct exchange *client, struct head *head, struct slice content_type,
                     struct slice body, bool is_head_request);

/* The head has gone: ends the stream with the error as the protocol can tell it in the middle.
 * `at_edge`: no message is cut. False, and nothing written: it cannot be told; reset the stream. */
MUST_CHECK bool reply_end_stream(struct exchange *client, const struct reply *reply, bool at_edge);

/* {"code":…,"message":…,"details":[…]} without the last brace, so that more may follow. */
void reply_append_json(struct buf *into, const struct reply *reply);

void reply_append_html_text(struct buf *into, struct slice text);

unsigned reply_http(const struct reply *reply); /* the HTTP status that reply_send() answers with */
enum connect_code reply_code(const struct reply *reply);
const char *reply_words(const struct reply *reply);
