/* net/certificate_info.h — facts of a certificate file, for metrics. */
#pragma once

#include "base/status.h"

/* When the first certificate of a PEM file ends, in seconds since 1970. Errors: CONFIG_INVALID (no
 * certificate there). */
MUST_CHECK enum status certificate_expiry(const char *file, int64_t *out_wall_s);
