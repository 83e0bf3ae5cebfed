/* agent/rpc.h — one remote call in whatever protocol its client speaks: Connect (unary or
 * streaming), gRPC, gRPC-Web; JSON or binary. rpc_request.c reads the head of the request, rpc.c
 * writes the answer; the service sees messages and codes. The facts are those of connect-go, which
 * the public SDKs were made against. */
#pragma once

#include "connect/connect_code.h"
#include "connect/process_message.h"
#include "http/exchange.h"

enum rpc_protocol { RPC_CONNECT_UNARY, RPC_CONNECT_STREAM, RPC_GRPC, RPC_GRPC_WEB };

struct rpc {
    struct exchange *exchange; /* borrowed */
    enum process_method method;
    enum rpc_protocol protocol;
    enum message_codec codec;
    struct slice content_type; /* as asked, without parameters: the answer has the same */
    bool is_gzip;              /* request messages may be compressed */
    bool is_over;              /* our direction was ended */
    uint64_t timeout_ms;       /* 0: none */
    uint64_t keepalive_ms;
};

/* 0 and protocol, codec, content_type; or the HTTP status that refuses it without looking further:
 * 405, 415. */
unsigned rpc_classify(struct exchange *exchange, enum process_method method, struct rpc *out_rpc);

/* Version, compression, timeout, keepalive. CONNECT_OK, or the code with its words in `out_error`.
 */
enum connect_code rpc_read_fields(struct rpc *rpc, struct buf *out_error);

/* ---- answers; each but rpc_open_stream() ends our direction ---- */

void rpc_refuse(struct exchange *exchange, enum process_method method, unsigned http_status);
void rpc_open_stream(struct rpc *rpc); /* the head of a stream of messages, once */
void rpc_reply(struct rpc *rpc, struct slice message);
void rpc_finish(struct rpc *rpc); /* after the stream's last message */
void rpc_fail(struct rpc *rpc, enum connect_code code,
              struct slice words); /* before or in a stream */
