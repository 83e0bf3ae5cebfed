/* proxy/call_expiry.h — an open call ends when its token or session does (`on_expiry: close`). That
 * is said in wall-clock time and the timer is monotonic: the deadline is computed anew when
 * somebody has set the clock. Private to the call. */
#pragma once

#include "proxy/call.h"

/* It was let in: by the principal's `exp`. */
void call_expiry_note(struct call *call);

/* No later than this; the clock has not passed it. */
void call_expiry_note_session(struct call *call, int64_t expires_wall_ms);

/* Between call_enter() and call_leave(): the clock was set. */
void call_expiry_aim(struct call *call);
