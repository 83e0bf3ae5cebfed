/* proxy/call_expiry.c — see call_expiry.h. */
#include "proxy/call_expiry.h"

enum { EXPIRY_LEEWAY_MS = 30000 };

static int64_t wall_ms(const struct call *call)
{
    return loop_clock(call->proxy->loop)->wall_ms;
}

static void aim(struct call *call)
{
    int64_t left_ms = call->expires_wall_ms - wall_ms(call);

    call->expiry_due_ms = call_now_ms(call) + (left_ms > 0 ? (uint64_t)left_ms : 1);
}

/* A token that was good only by the leeway ends when the leeway does. */
void call_expiry_note(struct call *call)
{
    if (call->principal == NULL || call->config->options.on_expiry == ON_EXPIRY_ALLOW)
        return;
    call->expires_wall_ms = call->principal->expires_wall_ms;
    if (call->expires_wall_ms <= wall_ms(call))
        call->expires_wall_ms += EXPIRY_LEEWAY_MS;
    aim(call);
}

void call_expiry_note_session(struct call *call, int64_t expires_wall_ms)
{
    if (call->config->options.on_expiry == ON_EXPIRY_ALLOW ||
        (call->expiry_due_ms != 0 && call->expires_wall_ms <= expires_wall_ms))
        return;
    call->expires_wall_ms = expires_wall_ms;
    aim(call);
}

void call_expiry_aim(struct call *call)
{
    if (call->expiry_due_ms != 0)
        aim(call);
}
