/* tests/support/redis_control.h — a blocking connection of the test's own to its redis-server. */
#pragma once

#include <hiredis/hiredis.h>

#include "redis_server.h"

/* Over the Unix socket, with the server's password; *control (NULL at first) is replaced. Free with redisFree().
 * Aborts the test when the server does not answer. */
void redis_control_connect(redisContext **control, const struct redis_server *server);
