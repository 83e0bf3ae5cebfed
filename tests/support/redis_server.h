/* tests/support/redis_server.h — a real redis-server of the test's own: on a Unix socket and on
 * free ports of 127.0.0.1, in a directory of its own, without persistence. It dies with the test.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct redis_server {
    pid_t pid; /* 0: not running */
    char directory[64];
    char socket_path[96];
    uint16_t port;     /* in the clear */
    uint16_t tls_port; /* 0: none */
    const char *password;
    char certificate_file[128]; /* with tls: self-signed for localhost and 127.0.0.1 */
    char key_file[128];
};

/* Fills *server and starts it; aborts the test when that fails. `password` may be NULL. */
void redis_server_create(struct redis_server *server, const char *password, bool tls);
void redis_server_destroy(struct redis_server *server); /* kills it and removes the directory */

void redis_server_start(
    struct redis_server *server); /* again, on the same ports; returns when it answers */
void redis_server_kill(struct redis_server *server);  /* SIGKILL; its data are gone */
void redis_server_pause(struct redis_server *server); /* SIGSTOP */
void redis_server_resume(struct redis_server *server);
