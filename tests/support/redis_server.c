/* tests/support/redis_server.c — see redis_server.h. */
#include "redis_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ensure.h"
#include "net/tls_context.h"

static uint16_t free_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ENSURE(fd != -1 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    ENSURE(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    close(fd);
    return ntohs(address.sin_port);
}

static bool answers(const struct redis_server *server)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", server->socket_path);
    bool is_connected = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return is_connected;
}

static _Noreturn void run(const struct redis_server *server)
{
    char port[8], tls_port[8], log_file[128];
    const char *words[40] = { "redis-server",
                              "--port",
                              port,
                              "--bind",
                              "127.0.0.1",
                              "--unixsocket",
                              server->socket_path,
                              "--dir",
                              server->directory,
                              "--logfile",
                              log_file,
                              "--daemonize",
                              "no",
                              "--appendonly",
                              "no",
                              "--save",
                              "",
                              "--hz",
                              "10" };
    size_t count = 19;

    snprintf(port, sizeof(port), "%u", server->port);
    snprintf(tls_port, sizeof(tls_port), "%u", server->tls_port);
    snprintf(log_file, sizeof(log_file), "%s/log", server->directory);
    if (server->password != NULL) {
        words[count++] = "--requirepass";
        words[count++] = server->password;
    }
    if (server->tls_port != 0) {
        const char *tls[] = { "--tls-port",         tls_port,
                              "--tls-cert-file",    server->certificate_file,
                              "--tls-key-file",     server->key_file,
                              "--tls-ca-cert-file", server->certificate_file,
                              "--tls-auth-clients", "no" };

        for (size_t i = 0; i < sizeof(tls) / sizeof(tls[0]); i++)
            words[count++] = tls[i];
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    execvp("redis-server", (char *const *)(uintptr_t)words);
    _exit(127);
}

void redis_server_start(struct redis_server *server)
{
    ENSURE(server->pid == 0);
    (void)unlink(server->socket_path);
    server->pid = fork();
    ENSURE(server->pid != -1);
    if (server->pid == 0)
        run(server);
    for (int i = 0; i < 1000 && !answers(server); i++) {
        ENSURE(waitpid(server->pid, NULL, WNOHANG) == 0);
        usleep(5000);
    }
    ENSURE(answers(server));
}

void redis_server_create(struct redis_server *server, const char *password, bool tls)
{
    const char *const names[] = { "localhost", "127.0.0.1" };

    memset(server, 0, sizeof(*server));
    snprintf(server->directory, sizeof(server->directory), "/tmp/redis-test-XXXXXX");
    ENSURE(mkdtemp(server->directory) != NULL);
    snprintf(server->socket_path, sizeof(server->socket_path), "%s/sock", server->directory);
    snprintf(server->certificate_file, sizeof(server->certificate_file), "%s/cert.pem",
             server->directory);
    snprintf(server->key_file, sizeof(server->key_file), "%s/key.pem", server->directory);
    server->password = password;
    server->port = free_port();
    if (tls) {
        server->tls_port = free_port();
        ENSURE(tls_write_self_signed(server->certificate_file, server->key_file, names, 2) ==
               STATUS_OK);
    }
    redis_server_start(server);
}

void redis_server_kill(struct redis_server *server)
{
    if (server->pid == 0)
        return;
    kill(server->pid, SIGKILL);
    ENSURE(waitpid(server->pid, NULL, 0) == server->pid);
    server->pid = 0;
}

void redis_server_pause(struct redis_server *server)
{
    ENSURE(kill(server->pid, SIGSTOP) == 0);
}

void redis_server_resume(struct redis_server *server)
{
    ENSURE(kill(server->pid, SIGCONT) == 0);
}

void redis_server_destroy(struct redis_server *server)
{
    char command[96];

    redis_server_kill(server);
    snprintf(command, sizeof(command), "rm -rf '%s'", server->directory);
    ENSURE(system(command) == 0);
}
