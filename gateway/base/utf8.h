/* base/utf8.h — is this text UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF)? */
#pragma once

#include "base/slice.h"

/* Length in bytes of the well-formed sequence at the start of `text`; 0 when there is none. */
size_t utf8_sequence_len(struct slice text);

bool utf8_is_valid(struct slice text);

/* How many bytes at the tail may be the start of a sequence that is cut off (0 to 3). */
size_t utf8_incomplete_tail_len(struct slice text);
