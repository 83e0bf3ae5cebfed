/* proxy/call_metrics.c — see call_metrics.h. */
#include "proxy/call_metrics.h"

#include "proxy/agent_outcome.h"
#include "proxy/port_call.h"

const char *call_metrics_kind_text(enum call_metrics_kind kind)
{
    static const char *const names[] = {
        [METRICS_EXEC] = "exec", [METRICS_PORT] = "port", [METRICS_NONE] = "none"
    };

    return names[kind];
}

const char *call_metrics_ender_text(unsigned ender)
{
    static const char *const names[] = {
        [ENDED_BY_GATEWAY] = "gateway", [ENDED_BY_AGENT] = "agent", [ENDED_BY_CLIENT] = "client"
    };

    return names[ender];
}

static enum call_metrics_kind kind_of(const struct call *call)
{
    switch (call->kind->name[0]) {
    case 'e':
        return METRICS_EXEC;
    case 'p':
        return METRICS_PORT;
    default:
        return METRICS_NONE;
    }
}

static unsigned method_of(const struct call *call, enum call_metrics_kind kind)
{
    return kind == METRICS_EXEC && call->exec.target == EXEC_TARGET_METHOD
               ? (unsigned)call->exec.method
               : (unsigned)PROCESS_METHOD_COUNT;
}

void call_metrics_started(const struct call *call)
{
    counter_add(&call->proxy->counters.metrics.open[kind_of(call)], 1);
}

void call_metrics_left(const struct call *call)
{
    counter_subtract(&call->proxy->counters.metrics.open[kind_of(call)], 1);
}

void call_metrics_tunnels(const struct call *call)
{
    counter_add(&call->proxy->counters.metrics.tunnels, 1);
}

void call_metrics_ended(const struct call *call)
{
    struct call_metrics *metrics = &call->proxy->counters.metrics;
    enum call_metrics_kind kind = kind_of(call);
    unsigned method = method_of(call, kind);
    const struct call_times *times = &call->times;

    counter_subtract(&metrics->open[kind], 1);
    if (call->port != NULL && call->port->is_tunnel)
        counter_subtract(&metrics->tunnels, 1);
    counter_add(&metrics->requests[kind][call->exec.caller][method][agent_outcome_code(call)], 1);
    counter_add(&metrics->ended[call->outcome][call->ended_by], 1);
    histogram_observe(&metrics->duration[kind][method],
                      loop_clock(call->proxy->loop)->now_us - times->began_us);
    if (times->head_us > 0)
        histogram_observe(&metrics->first_byte[kind][method], times->head_us - 1);
    if (times->connected_us > 0 && times->connected_us >= times->resolved_us)
        histogram_observe(&metrics->connect, times->connected_us - times->resolved_us);
}
