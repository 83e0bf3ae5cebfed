/* agent/main.c — the program guest-agent: arguments, one loop, until SIGTERM or SIGINT. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/guest_agent.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"
#include "net/tls_context.h"

enum { EXIT_USAGE = 2, TERMINATE_MS = 500, TOKEN_MAX_BYTES = 8192 };

struct arguments {
    const char *listen;
    const char *token; /* FILE or env:NAME */
    const char *tls_cert, *tls_key, *client_ca;
    const char *cwd;
    int ready_fd;
    uint64_t max_processes;
    uint64_t subscriber_bytes;
};

static struct loop *main_loop; /* for the signal handler */

static const char usage[] =
    "usage: guest-agent [--listen HOST:PORT]   default 127.0.0.1:49983; port 0: any\n"
    "                   [--token FILE|env:NAME] require Authorization: Bearer <token>\n"
    "                   [--tls-cert FILE --tls-key FILE [--client-ca FILE]]\n"
    "                   [--cwd DIR]            where commands run by default (the home directory)\n"
    "                   [--max-processes N]    running at once (8192)\n"
    "                   [--subscriber-bytes N] how far a slow reader may fall behind others "
    "(4194304)\n"
    "                   [--ready-fd FD]        writes the address there too, once it listens\n"
    "                   [--version]\n"
    "The first line on standard output is \"listening HOST:PORT\".\n";

static void on_signal(int number)
{
    (void)number;
    loop_stop(main_loop);
}

static bool number_of(const char *text, uint64_t *out_number)
{
    return slice_to_u64(slice_from_string(text), out_number) && *out_number > 0;
}

/* False: wrong command line. */
static bool take_argument(struct arguments *a, int option)
{
    uint64_t fd;

    switch (option) {
    case 'l':
        a->listen = optarg;
        return true;
    case 't':
        a->token = optarg;
        return true;
    case 'c':
        a->tls_cert = optarg;
        return true;
    case 'k':
        a->tls_key = optarg;
        return true;
    case 'a':
        a->client_ca = optarg;
        return true;
    case 'd':
        a->cwd = optarg;
        return true;
    case 'p':
        return number_of(optarg, &a->max_processes);
    case 's':
        return number_of(optarg, &a->subscriber_bytes);
    case 'r':
        if (!number_of(optarg, &fd) || fd > 65535)
            return false;
        a->ready_fd = (int)fd;
        return true;
    case 'v':
        puts("guest-agent " GATEWAY_VERSION);
        exit(0);
    default:
        return false;
    }
}

static bool parse_arguments(int argc, char **argv, struct arguments *out)
{
    static const struct option options[] = {
        { "listen", required_argument, NULL, 'l' },
        { "token", required_argument, NULL, 't' },
        { "tls-cert", required_argument, NULL, 'c' },
        { "tls-key", required_argument, NULL, 'k' },
        { "client-ca", required_argument, NULL, 'a' },
        { "cwd", required_argument, NULL, 'd' },
        { "max-processes", required_argument, NULL, 'p' },
        { "subscriber-bytes", required_argument, NULL, 's' },
        { "ready-fd", required_argument, NULL, 'r' },
        { "version", no_argument, NULL, 'v' },
        { NULL, 0, NULL, 0 },
    };
    int option;

    *out = (struct arguments){ .listen = "127.0.0.1:49983", .ready_fd = -1 };
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (!take_argument(out, option))
            return false;
    return optind == argc && (out->tls_cert == NULL) == (out->tls_key == NULL) &&
           (out->client_ca == NULL || out->tls_cert != NULL);
}

/* One end of the line is cut off, as editors add it. Errors: CONFIG_INVALID (told on standard
 * error). */
static enum status read_token(const char *from, char text[TOKEN_MAX_BYTES])
{
    size_t len = 0;

    if (strncmp(from, "env:", 4) == 0) {
        const char *value = getenv(from + 4);

        len = value != NULL ? strlen(value) : 0;
        if (len < TOKEN_MAX_BYTES)
            memcpy(text, value != NULL ? value : "", len);
    } else {
        FILE *file = fopen(from, "re");

        if (file != NULL) {
            len = fread(text, 1, TOKEN_MAX_BYTES, file);
            (void)fclose(file);
        }
    }
    while (len > 0 && len < TOKEN_MAX_BYTES && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    if (len == 0 || len >= TOKEN_MAX_BYTES) {
        fprintf(stderr, "guest-agent: no token (or one over 8 KiB) in %s\n", from);
        return STATUS_CONFIG_INVALID;
    }
    text[len] = '\0';
    return STATUS_OK;
}

static enum status make_tls(const struct arguments *a, struct tls_context **out_tls)
{
    const struct tls_certificate certificate = { a->tls_cert, a->tls_key };
    const struct tls_server_options options = {
        .certificates = &certificate,
        .certificate_count = 1,
        .offer_h2 = true,
        .client_ca_file = a->client_ca,
    };
    struct buf error = { 0 };
    enum status status = tls_context_create_server(&options, &error, out_tls);

    if (status != STATUS_OK)
        fprintf(stderr, "guest-agent: %s\n", buf_text(&error));
    buf_deinit(&error);
    return status;
}

/* Many processes need many descriptors; what they inherit stays as it was. */
static uint64_t raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return 0;

    rlim_t before = limit.rlim_cur;

    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? (uint64_t)before : 0;
}

/* A missing standard descriptor would be taken by a socket, and handed to a child as its own. */
static void fill_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

static void set_signals(void)
{
    struct sigaction stop = { .sa_handler = on_signal };
    struct sigaction ignore = { .sa_handler = SIG_IGN };

    (void)sigaction(SIGTERM, &stop, NULL);
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGPIPE, &ignore, NULL);
    (void)sigaction(SIGHUP, &ignore, NULL);
}

static void announce(const struct guest_agent *agent, int ready_fd)
{
    char text[ADDRESS_TEXT_BYTES];

    (void)address_text(guest_agent_address(agent), text);
    printf("listening %s\n", text);
    (void)fflush(stdout);
    if (ready_fd < 0)
        return;
    dprintf(ready_fd, "listening %s\n", text);
    close(ready_fd);
}

/* The processes get a moment to end by themselves, then guest_agent_destroy() kills them. */
static void end_processes(struct loop *loop, struct guest_agent *agent)
{
    uint64_t until_ms = loop_clock(loop)->now_ms + TERMINATE_MS;
    struct process_service *service = guest_agent_service(agent);

    guest_agent_stop_listening(agent);
    process_service_signal_all(service, SIGTERM);
    process_service_signal_all(service, SIGHUP); /* interactive shells heed this one only */
    while (process_service_running(service) > 0 && loop_clock(loop)->now_ms < until_ms)
        loop_turn(loop, 20);
}

static enum status prepare(const struct arguments *a, struct guest_agent_options *options,
                           char token[TOKEN_MAX_BYTES])
{
    const struct passwd *user = getpwuid(getuid());
    enum status status = STATUS_OK;

    guest_agent_options_init(options);
    if (address_parse(slice_from_string(a->listen), &options->listen) != STATUS_OK) {
        fprintf(stderr, "guest-agent: --listen %s is no HOST:PORT with a numeric host\n",
                a->listen);
        return STATUS_CONFIG_INVALID;
    }
    options->service.spawn.default_cwd = a->cwd != NULL ? a->cwd
                                         : user != NULL ? user->pw_dir
                                                        : "/";
    options->service.spawn.inherited_files = raise_file_limit();
    if (a->max_processes > 0)
        options->service.table.max_running = a->max_processes;
    if (a->subscriber_bytes > 0)
        options->service.subscriber_bytes = a->subscriber_bytes;
    if (a->token != NULL) {
        status = read_token(a->token, token);
        options->token = slice_from_string(token);
    }
    if (status == STATUS_OK && a->tls_cert != NULL)
        status = make_tls(a, &options->tls);
    return status;
}

static int serve(const struct arguments *a)
{
    char token[TOKEN_MAX_BYTES] = "";
    struct guest_agent_options options;
    struct guest_agent *agent = NULL;
    enum status status = prepare(a, &options, token);

    if (status == STATUS_OK)
        status = loop_create(&main_loop);
    if (status == STATUS_OK) {
        set_signals();
        status = guest_agent_create(main_loop, &options, &agent);
    }
    if (status == STATUS_OK) {
        announce(agent, a->ready_fd);
        loop_run(main_loop);
        end_processes(main_loop, agent);
    }
    guest_agent_destroy(&agent);
    tls_context_unref(&options.tls);
    loop_destroy(&main_loop);
    mem_wipe(token, sizeof(token));
    return status == STATUS_OK ? 0 : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct arguments arguments;

    fill_standard_descriptors();
    if (!parse_arguments(argc, argv, &arguments)) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    return serve(&arguments);
}
