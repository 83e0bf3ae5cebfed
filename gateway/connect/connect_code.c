/* connect/connect_code.c — see connect_code.h. */
#include "connect/connect_code.h"

static const struct {
    const char *text;
    unsigned http;
} codes[CONNECT_CODE_COUNT] = {
    [CONNECT_OK] = { "ok", 200 },
    [CONNECT_CANCELED] = { "canceled", 499 },
    [CONNECT_UNKNOWN] = { "unknown", 500 },
    [CONNECT_INVALID_ARGUMENT] = { "invalid_argument", 400 },
    [CONNECT_DEADLINE_EXCEEDED] = { "deadline_exceeded", 504 },
    [CONNECT_NOT_FOUND] = { "not_found", 404 },
    [CONNECT_ALREADY_EXISTS] = { "already_exists", 409 },
    [CONNECT_PERMISSION_DENIED] = { "permission_denied", 403 },
    [CONNECT_RESOURCE_EXHAUSTED] = { "resource_exhausted", 429 },
    [CONNECT_FAILED_PRECONDITION] = { "failed_precondition", 400 },
    [CONNECT_ABORTED] = { "aborted", 409 },
    [CONNECT_OUT_OF_RANGE] = { "out_of_range", 400 },
    [CONNECT_UNIMPLEMENTED] = { "unimplemented", 501 },
    [CONNECT_INTERNAL] = { "internal", 500 },
    [CONNECT_UNAVAILABLE] = { "unavailable", 503 },
    [CONNECT_DATA_LOSS] = { "data_loss", 500 },
    [CONNECT_UNAUTHENTICATED] = { "unauthenticated", 401 },
};

const char *connect_code_text(enum connect_code code)
{
    ENSURE(code < CONNECT_CODE_COUNT);
    return codes[code].text;
}

bool connect_code_from_text(struct slice text, enum connect_code *out_code)
{
    /* "ok" is no error code: a peer that names it as one has not said what went wrong. */
    for (unsigned i = CONNECT_CANCELED; i < CONNECT_CODE_COUNT; i++) {
        if (slice_equal(text, slice_from_string(codes[i].text))) {
            *out_code = (enum connect_code)i;
            return true;
        }
    }
    return false;
}

unsigned connect_code_http(enum connect_code code)
{
    ENSURE(code < CONNECT_CODE_COUNT);
    return codes[code].http;
}

enum connect_code connect_code_of_http(unsigned http_status)
{
    switch (http_status) {
    case 400:
        return CONNECT_INTERNAL;
    case 401:
        return CONNECT_UNAUTHENTICATED;
    case 403:
        return CONNECT_PERMISSION_DENIED;
    case 404:
        return CONNECT_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return CONNECT_UNAVAILABLE;
    default:
        return CONNECT_UNKNOWN;
    }
}

enum connect_code connect_code_of_status(enum status status)
{
    static const unsigned char column[STATUS_COUNT] = {
#define X(name, http, code, words) [STATUS_##name] = CONNECT_##code,
        STATUS_TABLE(X)
#undef X
    };

    ENSURE(status < STATUS_COUNT);
    return (enum connect_code)column[status];
}
