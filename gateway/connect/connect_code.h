/* connect/connect_code.h — the error codes of the Connect protocol and of gRPC: names, numbers, HTTP statuses. */
#pragma once

#include "base/slice.h"
#include "base/status.h"

enum connect_code { /* the numbers are gRPC's */
                    CONNECT_OK = 0,
                    CONNECT_CANCELED = 1,
                    CONNECT_UNKNOWN = 2,
                    CONNECT_INVALID_ARGUMENT = 3,
                    CONNECT_DEADLINE_EXCEEDED = 4,
                    CONNECT_NOT_FOUND = 5,
                    CONNECT_ALREADY_EXISTS = 6,
                    CONNECT_PERMISSION_DENIED = 7,
                    CONNECT_RESOURCE_EXHAUSTED = 8,
                    CONNECT_FAILED_PRECONDITION = 9,
                    CONNECT_ABORTED = 10,
                    CONNECT_OUT_OF_RANGE = 11,
                    CONNECT_UNIMPLEMENTED = 12,
                    CONNECT_INTERNAL = 13,
                    CONNECT_UNAVAILABLE = 14,
                    CONNECT_DATA_LOSS = 15,
                    CONNECT_UNAUTHENTICATED = 16,
                    CONNECT_CODE_COUNT
};

const char *connect_code_text(enum connect_code code); /* "invalid_argument" */
bool connect_code_from_text(struct slice text, enum connect_code *out_code);
unsigned connect_code_http(enum connect_code code); /* Connect unary: invalid_argument → 400 */
enum connect_code
connect_code_of_http(unsigned http_status); /* for a peer that sent no readable error */
enum connect_code connect_code_of_status(enum status status); /* the column of STATUS_TABLE */
