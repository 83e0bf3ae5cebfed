/* cli/records.c — `computer`, `session`, `port`: the registry's records from a shell, through the
 * same code as the admin listener and straight to the Redis of the configuration: no gateway needs
 * to run. Options become the members of the request's JSON body. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "admin/records.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "config/config.h"
#include "control.h"

enum { PATH_BYTES = 512, TURN_MS = 1000 };

struct verb {
    const char *command, *name;
    const char *method;
    const char *path; /* %s: the first argument, then the second when it has two */
    int arguments;
    const char *second; /* the second argument is this member of the body; NULL: of the path */
};

static const struct verb verbs[] = {
    { "computer", "put", "PUT", "%s", 1, NULL },
    { "computer", "get", "GET", "%s", 1, NULL },
    { "computer", "delete", "DELETE", "%s", 1, NULL },
    { "session", "create", "POST", "%s/access-sessions", 1, NULL },
    { "session", "list", "GET", "%s/access-sessions", 1, NULL },
    { "session", "get", "GET", "%s/access-sessions/%s", 2, NULL },
    { "session", "delete", "DELETE", "%s/access-sessions/%s", 2, NULL },
    { "port", "publish", "POST", "%s/ports", 2, "port" },
    { "port", "list", "GET", "%s/ports", 1, NULL },
    { "port", "delete", "DELETE", "%s/ports/%s", 2, NULL },
};

static const char help_computer[] =
    "exec-gateway computer put -c FILE ID [--state running|…] --agent HOST:PORT\n"
    "                          [--protocol h2c|http1] [--tls off|on|mutual] [--boot TEXT]\n"
    "                          [--handle NAME] [--owner TEXT] [--agent-token-file FILE]\n"
    "exec-gateway computer get|delete -c FILE ID\n"
    "with --json the answer is JSON";
static const char help_session[] =
    "exec-gateway session create -c FILE COMPUTER [--kind exec|browser|vnc] [--user ID]\n"
    "                            [--ttl SECONDS] [--port PORT] [--label LABEL] [--domain DOMAIN]\n"
    "exec-gateway session list -c FILE COMPUTER\n"
    "exec-gateway session get|delete -c FILE COMPUTER SESSION\n"
    "with --json the answer is JSON";
static const char help_port[] =
    "exec-gateway port publish -c FILE COMPUTER PORT [--label LABEL] [--visibility "
    "public|session]\n"
    "                          [--kinds browser,vnc] [--protocol http1|h2c|auto] [--via "
    "agent|direct]\n"
    "                          [--host-header preserve|localhost|VALUE] [--domain DOMAIN]\n"
    "exec-gateway port list -c FILE COMPUTER\n"
    "exec-gateway port delete -c FILE COMPUTER PORT|LABEL|HOSTNAME\n"
    "with --json the answer is JSON";

/* The long options that become members, by command; '-' stands for '_'. */
static const struct {
    const char *command;
    const char *options[10];
} members[] = {
    { "computer", { "state", "agent", "protocol", "tls", "boot", "handle", "owner", NULL } },
    { "session", { "kind", "user", "ttl", "port", "label", "domain", NULL } },
    { "port",
      { "label", "visibility", "kinds", "protocol", "via", "host-header", "domain", NULL } },
};

enum { OPTION_MEMBER = 256, OPTION_TOKEN_FILE = 512, OPTIONS_MAX = 16 };

struct work {
    const struct verb *verb;
    const char *const *member_names;
    const char *file;
    const char *arguments[2];
    json_t *body;
    bool wants_json;
    bool wants_help;
    /* the answer */
    unsigned http;
    struct buf answer;
    bool is_done;
};

/* ---- arguments ---- */

static void build_options(struct work *work, bool takes_token, struct option *out)
{
    size_t count = 0;

    out[count++] = (struct option){ "config", required_argument, NULL, 'c' };
    out[count++] = (struct option){ "json", no_argument, NULL, 'j' };
    out[count++] = (struct option){ "help", no_argument, NULL, 'h' };
    if (takes_token)
        out[count++] =
            (struct option){ "agent-token-file", required_argument, NULL, OPTION_TOKEN_FILE };
    for (int i = 0; work->member_names[i] != NULL; i++)
        out[count++] =
            (struct option){ work->member_names[i], required_argument, NULL, OPTION_MEMBER + i };
    out[count] = (struct option){ 0 };
}

static void set_member(struct work *work, const char *option, const char *value)
{
    char name[64];

    snprintf(name, sizeof(name), "%s", option);
    for (char *c = name; *c != '\0'; c++)
        *c = *c == '-' ? '_' : *c;
    json_object_set_new(work->body, name, json_string(value));
}

/* A secret is read from a file: arguments show up in the list of processes. */
static int set_token(struct work *work, const char *file)
{
    char line[4096] = "";
    FILE *stream = fopen(file, "re");

    if (stream == NULL || fgets(line, sizeof(line), stream) == NULL)
        line[0] = '\0';
    if (stream != NULL)
        fclose(stream);
    line[strcspn(line, "\r\n")] = '\0';
    if (line[0] == '\0')
        return cli_usage("computer: --agent-token-file: nothing to read in %s", file);
    json_object_set_new(work->body, "agent_token", json_string(line));
    return EXIT_DONE;
}

static int take_option(struct work *work, int option, char **argv)
{
    switch (option) {
    case 'c':
        work->file = optarg;
        return EXIT_DONE;
    case 'j':
        work->wants_json = true;
        return EXIT_DONE;
    case 'h':
        work->wants_help = true;
        return EXIT_DONE;
    case OPTION_TOKEN_FILE:
        return set_token(work, optarg);
    case ':':
        return cli_usage("%s: %s needs a value", work->verb->command, argv[optind - 1]);
    case '?':
        return cli_usage("%s: unknown option %s", work->verb->command, argv[optind - 1]);
    default:
        set_member(work, work->member_names[option - OPTION_MEMBER], optarg);
        return EXIT_DONE;
    }
}

static int parse(struct work *work, int argc, char **argv)
{
    const struct verb *verb = work->verb;
    struct option options[OPTIONS_MAX];
    int option, count = 0;

    build_options(work, strcmp(verb->command, "computer") == 0, options);
    optind = 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":c:h", options, NULL)) != -1) {
        if (take_option(work, option, argv) != EXIT_DONE)
            return EXIT_USAGE;
    }
    if (work->wants_help)
        return EXIT_DONE;
    for (; optind < argc && count < verb->arguments; optind++)
        work->arguments[count++] = argv[optind];
    if (optind < argc)
        return cli_usage("%s %s: unexpected argument \"%s\"", verb->command, verb->name,
                         argv[optind]);
    if (count < verb->arguments || work->file == NULL)
        return cli_usage("%s %s: needs %s; see `exec-gateway %s --help`", verb->command, verb->name,
                         work->file == NULL ? "-c FILE" : "more arguments", verb->command);
    if (verb->second != NULL)
        set_member(work, verb->second, work->arguments[1]);
    if (strcmp(verb->name, "put") == 0 && json_object_get(work->body, "state") == NULL)
        set_member(work, "state", "running");
    return EXIT_DONE;
}

/* ---- asking ---- */

static void on_done(void *arg, unsigned http, struct slice body)
{
    struct work *work = arg;

    work->http = http;
    buf_append(&work->answer, body);
    work->is_done = true;
}

static enum status ask(struct work *work, struct config *config)
{
    struct buf url = { 0 };
    const struct records_options options = control_records_options(config, &url);
    struct loop *loop = NULL;
    enum status status = loop_create(&loop);
    char path[PATH_BYTES];

    if (status != STATUS_OK)
        return status;
    struct records *records = records_create(loop,
                                             config->routes == CONFIG_ROUTES_REDIS
                                                 ? route_store_redis_create(loop, &config->redis)
                                                 : NULL,
                                             &options);
    char *body = json_dumps(work->body, JSON_COMPACT);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(path, sizeof(path), work->verb->path, work->arguments[0], work->arguments[1]);
#pragma GCC diagnostic pop
    const struct records_request request = {
        slice_from_string(work->verb->method), slice_from_string(path),
        json_object_size(work->body) > 0 ? slice_from_string(body) : SLICE_EMPTY
    };

    (void)records_start(records, &request, on_done, work);
    while (!work->is_done)
        loop_turn(loop, TURN_MS);
    free(body);
    records_destroy(&records);
    loop_destroy(&loop);
    buf_deinit(&url);
    return STATUS_OK;
}

/* ---- the answer ---- */

static void print_rows(json_t *root)
{
    static const char *const session_names[] = { "id",         "kind",       "user",  "port",
                                                 "created_at", "expires_at", "state", NULL };
    static const char *const port_names[] = { "port",     "label", "hostname", "visibility",
                                              "protocol", "via",   "kinds",    NULL };
    json_t *sessions = json_object_get(root, "sessions"), *ports = json_object_get(root, "ports");
    const char *name;
    json_t *value;

    if (json_is_array(sessions) || json_is_array(ports)) {
        json_t *rows = json_is_array(sessions) ? sessions : ports;

        table_print(rows, rows == sessions ? session_names : port_names);
        if (json_array_size(rows) == 0)
            fputs("none\n", stderr);
        return;
    }
    json_object_foreach(root, name, value)
    {
        table_print_object(json_is_object(value) ? value : root);
        return;
    }
}

static int print_answer(struct work *work)
{
    struct slice body = buf_slice(&work->answer);
    json_t *root = json_loadb(body.ptr, body.len, 0, NULL);
    int code = work->http < 300 && root != NULL ? EXIT_DONE : EXIT_FAILED;

    if (code == EXIT_FAILED)
        fprintf(stderr, "exec-gateway: %s\n",
                json_is_string(json_object_get(root, "message"))
                    ? json_string_value(json_object_get(root, "message"))
                    : "no answer");
    else if (work->wants_json)
        fwrite(body.ptr, 1, body.len, stdout);
    else
        print_rows(root);
    json_decref(root);
    return code;
}

static int run(struct work *work)
{
    struct config *config = NULL;
    struct buf words = { 0 };
    int code = EXIT_FAILED;

    log_set_level(LOG_WARN); /* that Redis was reached is no news here */
    if (config_load(work->file, &words, &config) != STATUS_OK)
        fprintf(stderr, "exec-gateway: %s\n", buf_text(&words));
    else if (ask(work, config) == STATUS_OK)
        code = print_answer(work);
    config_unref(&config);
    buf_deinit(&words);
    return code;
}

static int command(int argc, char **argv, const char *name, const char *help)
{
    const char *verb = argc > 1 ? argv[1] : "";
    struct work work = { 0 };
    int code;

    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        puts(help);
        return EXIT_DONE;
    }
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verbs[i].command, name) == 0 && strcmp(verbs[i].name, verb) == 0)
            work.verb = &verbs[i];
    }
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        if (strcmp(members[i].command, name) == 0)
            work.member_names = members[i].options;
    }
    if (work.verb == NULL)
        return cli_usage("%s: unknown verb \"%s\"; see `exec-gateway %s --help`", name, verb, name);
    work.body = json_object();
    code = parse(&work, argc - 1, argv + 1);
    if (code == EXIT_DONE && work.wants_help)
        puts(help);
    else if (code == EXIT_DONE)
        code = run(&work);
    json_decref(work.body);
    buf_deinit(&work.answer);
    return code;
}

int cli_computer(int argc, char **argv)
{
    return command(argc, argv, "computer", help_computer);
}

int cli_session(int argc, char **argv)
{
    return command(argc, argv, "session", help_session);
}

int cli_port(int argc, char **argv)
{
    return command(argc, argv, "port", help_port);
}
