/* admin/label.h — the names of published ports: `<label>--<handle>.<domain>`, split at the first
 * `--`. Pure functions. */
#pragma once

#include "base/buf.h"

enum { LABEL_BYTES_MAX = 63 };

/* NULL: good; else what is wrong, for people. A label is a DNS label in lower case without `--`; one
 * of digits alone must be the port itself. */
const char *port_label_wrong(struct slice label, uint16_t port);

/* The same for a computer's handle, which may not be the name of a service either (`exec`, `api` …). */
const char *handle_wrong(struct slice handle);

/* Appends the hostname. Both must be good. False (nothing appended): together they are too long for
 * one DNS label. */
bool port_hostname(struct slice label, struct slice handle, struct slice domain, struct buf *into);
