/* proxy/call_metrics.h — what is counted of every call when it ends, by labels that no client can
 * make grow: kind, protocol, method of the eight, code, reason. One per worker. */
#pragma once

#include "base/histogram.h"
#include "base/status.h"
#include "connect/connect_code.h"
#include "connect/process_message.h"
#include "proxy/exec_request.h"

struct call;

enum call_metrics_kind { METRICS_EXEC, METRICS_PORT, METRICS_NONE, METRICS_KIND_COUNT };
enum { METRICS_METHOD_COUNT = PROCESS_METHOD_COUNT + 1, METRICS_ENDER_COUNT = 3 };

struct call_metrics {
    /* The method PROCESS_METHOD_COUNT stands for everything else: health, ports, unknown paths. */
    struct counter requests[METRICS_KIND_COUNT][CALLER_COUNT][METRICS_METHOD_COUNT]
                           [CONNECT_CODE_COUNT];
    struct histogram duration[METRICS_KIND_COUNT][METRICS_METHOD_COUNT];
    struct histogram first_byte[METRICS_KIND_COUNT][METRICS_METHOD_COUNT]; /* of the agent's head */
    struct histogram connect; /* from the route to a connection with room */
    struct counter ended[STATUS_COUNT][METRICS_ENDER_COUNT]; /* in the order of enum call_ender */
    struct counter refused[STATUS_COUNT];                    /* by the codec: no call was made */
    struct counter open[METRICS_KIND_COUNT];                 /* gauge */
    struct counter tunnels;                                  /* gauge: WebSockets, among the open */
};

const char *call_metrics_kind_text(enum call_metrics_kind kind);
const char *call_metrics_ender_text(unsigned ender);

void call_metrics_started(const struct call *call);
void call_metrics_left(const struct call *call);    /* it becomes one of another kind */
void call_metrics_tunnels(const struct call *call); /* the app has switched protocols */
void call_metrics_ended(const struct call *call);
