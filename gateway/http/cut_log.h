/* http/cut_log.h — one line for each connection that is cut for what its peer did. A flood of floods
 * must not become a flood of lines: ten a second and thread, then one that counts the rest. Private
 * to this folder. */
#pragma once

#include "net/address.h"

/* `side`: "client" or "agent"; `reason`: a word that stands in docs/security.md. */
void cut_log(const char *side, const char *reason, const struct address *peer, uint64_t now_ms);
/* The same for streams that are refused or reset while their connection lives; lines of their own. */
void cut_log_stream(const char *side, const char *reason, const struct address *peer,
                    uint64_t now_ms);
