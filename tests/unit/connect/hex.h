/* hex.h — bytes as tests write them. */
#pragma once

#include <stdio.h>

#include "base/buf.h"

static inline void append_hex(struct buf *into, const char *hex)
{
    for (; hex[0] != '\0'; hex += 2) {
        unsigned byte;
        ENSURE(sscanf(hex, "%2x", &byte) == 1);
        buf_append_byte(into, (char)byte);
    }
}
