/* proxy/call_state.c — see call_state.h. */
#include "proxy/call_state.h"

#define TO(state) (1u << CALL_##state)

/* Every state may end in a reply of ours or, when the client has gone, at once. */
#define ENDS (TO(REPLYING) | TO(CLOSED))

const struct call_state_row call_states[CALL_STATE_COUNT] = {
    [CALL_FINDING] = { "finding", TO(AUTHORIZING) | ENDS, 3000, STATUS_ROUTE_UNAVAILABLE },
    [CALL_AUTHORIZING] = { "authorizing", TO(RESOLVING) | ENDS, 1000, STATUS_INTERNAL },
    [CALL_RESOLVING] = { "resolving", TO(WAKING) | TO(COLLECTING) | TO(CONNECTING) | ENDS, 3000,
                         STATUS_ROUTE_UNAVAILABLE },
    [CALL_WAKING] = { "waking", TO(COLLECTING) | TO(CONNECTING) | ENDS, 30000,
                      STATUS_COMPUTER_NOT_RUNNING },
    [CALL_COLLECTING] = { "collecting", TO(CONNECTING) | ENDS, 30000, STATUS_REQUEST_TIMED_OUT },
    [CALL_CONNECTING] = { "connecting", TO(RETRYING) | TO(RELAYING) | ENDS, 5000,
                          STATUS_AGENT_TIMED_OUT },
    [CALL_RETRYING] = { "retrying", TO(CONNECTING) | ENDS, 1000, STATUS_AGENT_UNREACHABLE },
    [CALL_RELAYING] = { "relaying", TO(RETRYING) | TO(FINISHING) | ENDS, 0, STATUS_INTERNAL },
    [CALL_FINISHING] = { "finishing", TO(CLOSED), 60000, STATUS_CLIENT_LOST },
    [CALL_REPLYING] = { "replying", TO(CLOSED), 10000, STATUS_CLIENT_LOST },
    [CALL_CLOSED] = { "closed", 0, 0, STATUS_INTERNAL },
};
