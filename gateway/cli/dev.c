/* cli/dev.c — `dev`: gateway, guest agent, routes in memory and a fresh key in one process tree.
 * The first line on standard output is the session as the public API gives it; everything else goes
 * to standard error. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "auth/token_mint.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "config/config.h"
#include "gateway.h"
#include "net/tls_context.h"

enum { DEV_TTL_S = 24 * 3600, AGENT_START_MS = 10000 };

static const char help[] = "exec-gateway dev [--listen HOST:PORT] [--tls] [--agent HOST:PORT] "
                           "[--agent-protocol h2c|http1] [--workers N] [--port PORT]\n\n"
                           "Starts the guest agent (or uses the one at --agent), makes a session, "
                           "publishes --port (3000) of the computer, serves. Port 0 of --listen "
                           "takes a free one.\n"
                           "The first line on standard output is the session's JSON.";

struct dev {
    const char *listen;
    const char *agent; /* given, or what our own agent printed */
    const char *agent_protocol;
    uint64_t workers;
    uint64_t port; /* of the computer, published */
    bool tls;
    bool wants_help;
    char folder[256]; /* of key and certificate; removed at the end */
    char agent_line[ADDRESS_TEXT_BYTES];
    pid_t agent_pid;
    struct buf token, access_token;
};

static const struct option options[] = {
    { "listen", required_argument, NULL, 'l' },
    { "agent", required_argument, NULL, 'a' },
    { "agent-protocol", required_argument, NULL, 'p' },
    { "workers", required_argument, NULL, 'w' },
    { "port", required_argument, NULL, 'P' },
    { "tls", no_argument, NULL, 't' },
    { "help", no_argument, NULL, 'h' },
    { 0 },
};

static int check_arguments(const struct dev *dev)
{
    struct address address;

    if (address_parse(slice_from_string(dev->listen), &address) != STATUS_OK ||
        address.storage.ss_family == AF_UNIX)
        return cli_usage("dev: --listen: expected HOST:PORT with a numeric host, got \"%s\"",
                         dev->listen);
    if (dev->agent != NULL && address_parse(slice_from_string(dev->agent), &address) != STATUS_OK)
        return cli_usage("dev: --agent: expected HOST:PORT with a numeric host, got \"%s\"",
                         dev->agent);
    ENSURE(dev->agent_protocol != NULL); /* its option has an argument */
    if (strcmp(dev->agent_protocol, "h2c") != 0 && strcmp(dev->agent_protocol, "http1") != 0)
        return cli_usage("dev: --agent-protocol: expected h2c or http1, got \"%s\"",
                         dev->agent_protocol);
    return EXIT_DONE;
}

static int parse(int argc, char **argv, struct dev *dev)
{
    int option;

    optind = 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        switch (option) {
        case 'l':
            dev->listen = optarg;
            break;
        case 'a':
            dev->agent = optarg;
            break;
        case 'p':
            dev->agent_protocol = optarg;
            break;
        case 'P':
            if (!slice_to_u64(slice_from_string(optarg), &dev->port) || dev->port < 1 ||
                dev->port > UINT16_MAX)
                return cli_usage("dev: --port: expected a port from 1 to 65535, got \"%s\"",
                                 optarg);
            break;
        case 't':
            dev->tls = true;
            break;
        case 'h':
            dev->wants_help = true;
            break;
        case 'w':
            if (!slice_to_u64(slice_from_string(optarg), &dev->workers) || dev->workers < 1 ||
                dev->workers > 256)
                return cli_usage("dev: --workers: expected a number from 1 to 256, got \"%s\"",
                                 optarg);
            break;
        default:
            return cli_usage(option == ':' ? "dev: %s needs a value" : "dev: unknown option %s",
                             argv[optind - 1]);
        }
    }
    if (optind < argc)
        return cli_usage("dev: unexpected argument \"%s\"", argv[optind]);
    return check_arguments(dev);
}

/* ---- the agent ---- */

/* guest-agent lies beside this program, or in PATH. */
static void exec_agent(void)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 32);
    char *slash;

    if (len > 0) {
        path[len] = '\0';
        slash = strrchr(path, '/');
        snprintf(slash != NULL ? slash + 1 : path, 32, "guest-agent");
        execl(path, "guest-agent", "--listen", "127.0.0.1:0", (char *)NULL);
    }
    execlp("guest-agent", "guest-agent", "--listen", "127.0.0.1:0", (char *)NULL);
    fprintf(stderr, "exec-gateway: dev: guest-agent cannot be started: %s\n", strerror(errno));
    _exit(127);
}

/* No thread exists yet: fork is safe here. */
static pid_t fork_agent(int output)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    sigset_t none;

    if (pid != 0)
        return pid;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0); /* Ctrl-C is for the gateway, which drains first */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(0);
    dup2(output, STDOUT_FILENO);
    exec_agent();
    return -1;
}

/* The agent's first line: "listening HOST:PORT". */
static bool read_agent_line(struct dev *dev, int input)
{
    static const char prefix[] = "listening ";
    FILE *stream = fdopen(input, "r");
    char line[sizeof(dev->agent_line) + sizeof(prefix)];
    bool is_good = stream != NULL && fgets(line, sizeof(line), stream) != NULL &&
                   strncmp(line, prefix, sizeof(prefix) - 1) == 0;

    if (is_good) {
        line[strcspn(line, "\r\n")] = '\0';
        slice_to_string(slice_from_string(line + sizeof(prefix) - 1), dev->agent_line,
                        sizeof(dev->agent_line));
        dev->agent = dev->agent_line;
    }
    if (stream != NULL)
        fclose(stream);
    else
        close(input);
    return is_good;
}

static enum status start_agent(struct dev *dev)
{
    int ends[2];

    if (dev->agent != NULL)
        return STATUS_OK;
    if (pipe2(ends, O_CLOEXEC) == -1)
        return STATUS_SYSTEM;
    dev->agent_pid = fork_agent(ends[1]);
    close(ends[1]);
    if (dev->agent_pid > 0 && read_agent_line(dev, ends[0]))
        return STATUS_OK;
    fputs("exec-gateway: dev: the guest agent did not start\n", stderr);
    return STATUS_SYSTEM;
}

static void stop_agent(struct dev *dev)
{
    int child_status;

    if (dev->agent_pid <= 0)
        return;
    kill(dev->agent_pid, SIGTERM);
    for (int i = 0; i < 40; i++) { /* 2 s, then by force */
        if (waitpid(dev->agent_pid, &child_status, WNOHANG) != 0)
            return;
        usleep(50000);
    }
    kill(dev->agent_pid, SIGKILL);
    waitpid(dev->agent_pid, &child_status, 0);
}

/* ---- key, route, session ---- */

static const char *in_folder(struct config *config, const struct dev *dev, const char *name)
{
    return arena_printf(&config->arena, "%s/%s%c", dev->folder, name, 0).ptr;
}

static enum status put_record(struct route_table *table, enum record_kind kind, const char *id,
                              const struct record_field *fields, size_t count)
{
    struct record *record = NULL;
    enum status status =
        record_from_fields(kind, slice_from_string(id), fields, count, NULL, &record);

    if (status == STATUS_OK)
        route_table_put(table, record);
    return status;
}

/* The same port twice: for everybody, and for who has a token. */
static enum status publish_port(struct config *config, const struct dev *dev)
{
    char number[8], private_name[64];
    bool has_tunnels = strcmp(dev->agent_protocol, "h2c") == 0;
    const struct record_field session[] = {
        { SLICE("kind"), SLICE("browser") },
        { SLICE("computer"), SLICE("cmp_dev") },
        { SLICE("user"), SLICE("usr_dev") },
    };
    struct record_field host[] = {
        { SLICE("computer"), SLICE("cmp_dev") },
        { SLICE("port"), slice_from_string(number) },
        { SLICE("protocol"), SLICE("auto") },
        { SLICE("via"), has_tunnels ? SLICE("agent") : SLICE("direct") },
        { SLICE("host_header"), SLICE("localhost") }, /* dev servers refuse other names */
        { SLICE("visibility"), SLICE("session") },
    };

    snprintf(number, sizeof(number), "%u", (unsigned)dev->port);
    host[1].value = slice_from_string(number);
    snprintf(private_name, sizeof(private_name), "%s--dev.localhost", number);
    enum status status = put_record(config->table, RECORD_SESSION, "ses_dev_web", session, 3);

    if (status == STATUS_OK)
        status = put_record(config->table, RECORD_HOST, private_name, host, 6);
    host[5].value = SLICE("public");
    if (status == STATUS_OK)
        status = put_record(config->table, RECORD_HOST, "public--dev.localhost", host, 6);
    return status;
}

static enum status fill_routes(struct config *config, const struct dev *dev)
{
    const struct record_field computer[] = {
        { SLICE("state"), SLICE("running") },
        { SLICE("agent"), slice_from_string(dev->agent) },
        { SLICE("protocol"), slice_from_string(dev->agent_protocol) },
        { SLICE("boot"), SLICE("1") },
        { SLICE("handle"), SLICE("dev") },
    };
    const struct record_field session[] = {
        { SLICE("kind"), SLICE("exec") },
        { SLICE("computer"), SLICE("cmp_dev") },
        { SLICE("user"), SLICE("usr_dev") },
    };
    enum status status;

    config->routes = CONFIG_ROUTES_TABLE;
    config->table = route_table_create();
    status = put_record(config->table, RECORD_COMPUTER, "cmp_dev", computer, 5);
    if (status == STATUS_OK)
        status = put_record(config->table, RECORD_SESSION, "ses_dev", session, 3);
    return status == STATUS_OK ? publish_port(config, dev) : status;
}

/* A signing key and, with --tls, a certificate: both P-256, written by the same function. */
static enum status write_secrets(struct config *config, struct dev *dev, struct config_key *key)
{
    static const char *const names[] = { "localhost", "*.localhost", "127.0.0.1", "::1" };
    const char *base = getenv("TMPDIR");
    enum status status;

    snprintf(dev->folder, sizeof(dev->folder), "%s/exec-gateway-dev.XXXXXX",
             base != NULL ? base : "/tmp");
    if (mkdtemp(dev->folder) == NULL) {
        dev->folder[0] = '\0';
        return STATUS_SYSTEM;
    }
    key->kid = "dev";
    key->algorithm = TOKEN_ES256;
    key->file = in_folder(config, dev, "sign.key");
    status = tls_write_self_signed(in_folder(config, dev, "sign.crt"), key->file, names, 1);
    if (status == STATUS_OK && dev->tls)
        status = tls_write_self_signed(in_folder(config, dev, "tls.crt"),
                                       in_folder(config, dev, "tls.key"), names, 4);
    return status;
}

static void remove_secrets(const struct dev *dev)
{
    static const char *const files[] = { "sign.key", "sign.crt", "tls.key", "tls.crt" };
    char path[sizeof(dev->folder) + 16];

    if (dev->folder[0] == '\0')
        return;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", dev->folder, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(dev->folder);
}

static enum status mint(const struct config_key *key, bool is_exec, struct buf *into)
{
    static const char *const capabilities[] = { "process", NULL };
    struct buf words = { 0 };
    int64_t now_s = time(NULL);
    struct key_options key_options = { key->kid, (enum token_algorithm)key->algorithm, key->file };
    struct token_claims claims = {
        .issuer = "exec-gateway-dev",
        .audience = is_exec ? "exec" : "access",
        .session_id = is_exec ? "ses_dev" : "ses_dev_web",
        .computer_id = "cmp_dev",
        .user_id = "usr_dev",
        .kind = is_exec ? "exec" : "browser",
        .capabilities = is_exec ? capabilities : capabilities + 1,
        .issued_wall_s = now_s,
        .expires_wall_s = now_s + DEV_TTL_S,
    };
    enum status status = token_mint(&claims, &key_options, &words, into);

    if (status != STATUS_OK)
        fprintf(stderr, "exec-gateway: dev: %s\n", buf_text(&words));
    buf_deinit(&words);
    return status;
}

static void fill_config(struct config *config, struct dev *dev)
{
    static const char *all_hosts[] = { "*" };
    static const char *port_domains[] = { "localhost" };
    static const char *const loopback[] = { "127.0.0.0/8", "::1", "10.0.0.0/8", "172.16.0.0/12",
                                            "192.168.0.0/16" };
    struct config_listener *listener = arena_alloc(&config->arena, sizeof(*listener));

    *listener = (struct config_listener){ .tls = dev->tls };
    ENSURE(address_parse(slice_from_string(dev->listen), &listener->address) == STATUS_OK);
    config->listeners = listener;
    config->listener_count = 1;
    config->workers = dev->workers;
    config->token.issuer = "exec-gateway-dev";
    config->exec_hosts = (struct config_texts){ all_hosts, 1 };
    config->ports_domains = (struct config_texts){ port_domains, 1 };
    config->proxy.ports.insecure_cookies = !dev->tls;
    config->access_log = "stderr";
    config->drain_ms = 5000;
    config->upstream_allow.count = sizeof(loopback) / sizeof(loopback[0]);
    config->upstream_allow.items =
        arena_alloc(&config->arena, config->upstream_allow.count * sizeof(struct network));
    for (size_t i = 0; i < config->upstream_allow.count; i++)
        ENSURE(network_parse(slice_from_string(loopback[i]), &config->upstream_allow.items[i]) ==
               STATUS_OK);
    if (dev->tls) {
        config->certificates = arena_alloc(&config->arena, sizeof(*config->certificates));
        *config->certificates =
            (struct config_certificate){ .certificate_file = in_folder(config, dev, "tls.crt"),
                                         .key_file = in_folder(config, dev, "tls.key") };
        config->certificate_count = 1;
    }
}

static enum status build_config(struct dev *dev, struct config *config)
{
    struct config_key *key = arena_alloc(&config->arena, sizeof(*key));
    struct buf words = { 0 };
    enum status status;

    *key = (struct config_key){ 0 };
    status = write_secrets(config, dev, key);
    config->keys = key;
    config->key_count = 1;
    if (status == STATUS_OK)
        status = mint(key, true, &dev->token);
    if (status == STATUS_OK)
        status = mint(key, false, &dev->access_token);
    if (status == STATUS_OK)
        status = fill_routes(config, dev);
    if (status == STATUS_OK) {
        fill_config(config, dev);
        status = config_finish(config, &words);
    }
    if (status != STATUS_OK)
        fprintf(stderr, "exec-gateway: dev: %s %s\n", status_words(status),
                words.len > 0 ? buf_text(&words) : "");
    buf_deinit(&words);
    return status;
}

/* ---- what people and programs read ---- */

static void print_ports(struct dev *dev, const char *scheme, unsigned listen_port)
{
    const char *token = buf_text(&dev->access_token);
    unsigned port = (unsigned)dev->port;

    printf("\"ports\":[{\"port\":%u,\"visibility\":\"public\",\"url\":"
           "\"%s://public--dev.localhost:%u/\"},{\"port\":%u,\"visibility\":\"session\",\"url\":"
           "\"%s://%u--dev.localhost:%u/\",\"access_url\":"
           "\"%s://%u--dev.localhost:%u/?access_token=%s\"}]}\n",
           port, scheme, listen_port, port, scheme, port, listen_port, scheme, port, listen_port,
           token);
    fprintf(
        stderr,
        "\nexec-gateway dev: port %u of the computer is published twice; start something there, "
        "such as python3 -m http.server %u --bind 127.0.0.1\n\n"
        "for everybody:    %s://public--dev.localhost:%u/\n"
        "with this link:   %s://%u--dev.localhost:%u/?access_token=%s\n",
        port, port, scheme, listen_port, scheme, port, listen_port, token);
}

static void print_session(struct dev *dev, const struct address *address)
{
    char where[ADDRESS_TEXT_BYTES];
    const char *scheme = dev->tls ? "https" : "http";
    const char *token = buf_text(&dev->token);

    address_text(address, where);
    printf("{\"session\":{\"id\":\"ses_dev\",\"computer_id\":\"cmp_dev\",\"kind\":\"exec\","
           "\"connect_url\":\"%s://%s\",\"connect_token\":\"%s\","
           "\"transport\":{\"protocol\":\"connectrpc\",\"service\":\"process.Process\",\"base_"
           "path\":\"/process.Process/\","
           "\"capabilities\":[\"process\"]},\"access_url\":\"%s://%s/?access_token=%s\"},",
           scheme, where, token, scheme, where, token);
    print_ports(dev, scheme, address_port(address));
    fflush(stdout);
    fprintf(stderr,
            "\nexec-gateway dev: computer cmp_dev runs on agent %s. Try:\n\n"
            "curl%s -X POST %s://%s/process.Process/Start -H 'Authorization: Bearer %s' -H "
            "'Content-Type: application/json' "
            "-d '{\"command\": [\"ls\", \"-la\"]}'\n\n",
            dev->agent, dev->tls ? " -k" : "", scheme, where, token);
}

static int run(struct dev *dev)
{
    struct config *config = config_create();
    struct gateway *gateway = NULL;
    int code = EXIT_FAILED;

    if (start_agent(dev) == STATUS_OK && build_config(dev, config) == STATUS_OK) {
        if (gateway_create(config_ref(config), &gateway) == STATUS_OK) {
            gateway_watch_child(gateway, dev->agent_pid);
            print_session(dev, gateway_address(gateway, 0));
            code = gateway_run(gateway);
        }
        gateway_destroy(&gateway);
    }
    config_unref(&config);
    return code;
}

int cli_dev(int argc, char **argv)
{
    struct dev dev = { .listen = "127.0.0.1:8080", .agent_protocol = "h2c", .port = 3000 };
    int code = parse(argc, argv, &dev);

    if (code != EXIT_DONE)
        return code;
    if (dev.wants_help) {
        puts(help);
        return EXIT_DONE;
    }
    gateway_block_signals();
    code = run(&dev);
    stop_agent(&dev);
    remove_secrets(&dev);
    buf_deinit(&dev.token);
    buf_deinit(&dev.access_token);
    return code;
}
