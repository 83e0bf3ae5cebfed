/* tests/support/redis_control.c — see redis_control.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "redis_control.h"

void redis_control_connect(redisContext **control, const struct redis_server *server)
{
    struct timeval patience = { .tv_sec = 5 };

    if (*control != NULL)
        redisFree(*control);
    *control = redisConnectUnixWithTimeout(server->socket_path, patience);
    assert_non_null(*control);
    assert_int_equal((*control)->err, 0);
    if (server->password != NULL)
        freeReplyObject(redisCommand(*control, "AUTH %s", server->password));
}
