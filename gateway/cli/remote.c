/* cli/remote.c — `status`, `streams`, `drain`: questions to a running gateway, through its admin
 * listener. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "cli/admin_client.h"
#include "cli/cli.h"
#include "cli/table.h"

struct remote {
    const char *file;
    const char *text; /* the one argument that is no option */
    uint64_t limit;
    bool wants_json;
    bool wants_help;
};

static const struct option options[] = {
    { "config", required_argument, NULL, 'c' },
    { "json", no_argument, NULL, 'j' },
    { "limit", required_argument, NULL, 'l' },
    { "help", no_argument, NULL, 'h' },
    { 0 },
};

static int parse(int argc, char **argv, const char *command, struct remote *out)
{
    int option;

    optind = 1;
    opterr = 0;
    *out = (struct remote){ .limit = 1000 };
    while ((option = getopt_long(argc, argv, ":c:h", options, NULL)) != -1) {
        if (option == 'c')
            out->file = optarg;
        else if (option == 'j')
            out->wants_json = true;
        else if (option == 'h')
            out->wants_help = true;
        else if (option != 'l')
            return cli_usage(option == ':' ? "%s: %s needs a value" : "%s: unknown option %s",
                             command, argv[optind - 1]);
        else if (!slice_to_u64(slice_from_string(optarg), &out->limit))
            return cli_usage("%s: --limit: expected a number, got \"%s\"", command, optarg);
    }
    if (optind < argc)
        out->text = argv[optind++];
    if (optind < argc)
        return cli_usage("%s: unexpected argument \"%s\"", command, argv[optind]);
    if (out->file == NULL && !out->wants_help)
        return cli_usage("%s: needs -c FILE", command);
    return EXIT_DONE;
}

static int print_error(json_t *root, unsigned http)
{
    const char *words = json_string_value(json_object_get(root, "message"));

    fprintf(stderr, "exec-gateway: %s (%u)\n", words != NULL ? words : "refused", http);
    return EXIT_FAILED;
}

static int print_answer(const struct remote *remote, unsigned http, struct slice body,
                        void (*print)(json_t *root))
{
    json_t *root = json_loadb(body.ptr, body.len, 0, NULL);
    int code = EXIT_DONE;

    if (root == NULL || http >= 300)
        code = print_error(root, http);
    else if (remote->wants_json)
        fwrite(body.ptr, 1, body.len, stdout);
    else
        print(root);
    json_decref(root);
    return code;
}

static int call(const struct remote *remote, const char *method, const char *path,
                void (*print)(json_t *root))
{
    struct config *config = NULL;
    struct buf words = { 0 }, body = { 0 };
    unsigned http = 0;
    int code = EXIT_FAILED;

    if (config_load(remote->file, &words, &config) != STATUS_OK)
        fprintf(stderr, "exec-gateway: %s\n", buf_text(&words));
    else if (admin_client_call(config, method, path, &http, &body) == STATUS_OK)
        code = print_answer(remote, http, buf_slice(&body), print);
    config_unref(&config);
    buf_deinit(&words);
    buf_deinit(&body);
    return code;
}

static void print_status(json_t *root)
{
    static const char *const names[] = { "address", "connections", NULL };

    table_print_object(root);
    putchar('\n');
    table_print(json_object_get(root, "listeners"), names);
}

/* The rows of all workers as one table. */
static void print_streams(json_t *root)
{
    static const char *const names[] = { "id",       "kind",      "state", "path",   "protocol",
                                         "computer", "session",   "user",  "remote", "age_ms",
                                         "bytes_in", "bytes_out", NULL };
    json_t *all = json_array(), *worker;
    json_int_t silent = json_integer_value(json_object_get(root, "silent_workers"));
    size_t i;

    json_array_foreach(json_object_get(root, "workers"), i, worker)
        json_array_extend(all, json_object_get(worker, "rows"));
    table_print(all, names);
    fprintf(stderr, json_array_size(all) == 1 ? "%zu stream\n" : "%zu streams\n",
            json_array_size(all));
    if (silent > 0)
        fprintf(stderr, "%d workers did not answer in time\n", (int)silent);
    json_decref(all);
}

static void print_state(json_t *root)
{
    printf("%s\n", json_string_value(json_object_get(root, "state")));
}

static void print_ended(json_t *root)
{
    (void)root;
    puts("ended");
}

int cli_status(int argc, char **argv)
{
    struct remote remote;
    int code = parse(argc, argv, "status", &remote);

    if (code != EXIT_DONE)
        return code;
    if (remote.wants_help) {
        puts("exec-gateway status -c FILE [--json]");
        return EXIT_DONE;
    }
    return remote.text != NULL ? cli_usage("status: unexpected argument \"%s\"", remote.text)
                               : call(&remote, "GET", "/status", print_status);
}

int cli_streams(int argc, char **argv)
{
    struct remote remote;
    const char *verb = argc > 1 ? argv[1] : "";
    bool is_end = strcmp(verb, "end") == 0;
    char path[256];
    int code = is_end ? parse(argc - 1, argv + 1, "streams end", &remote)
                      : parse(argc, argv, "streams", &remote);

    if (code != EXIT_DONE)
        return code;
    if (remote.wants_help) {
        puts("exec-gateway streams -c FILE [--limit N] [--json]     what is open, at most N per "
             "worker\n"
             "exec-gateway streams end -c FILE ID                   ends one");
        return EXIT_DONE;
    }
    if (!is_end && remote.text != NULL)
        return cli_usage("streams: unexpected argument \"%s\"", remote.text);
    if (is_end && (remote.text == NULL || strpbrk(remote.text, " /?\r\n") != NULL))
        return cli_usage("streams end: needs the id of one stream");
    if (is_end)
        snprintf(path, sizeof(path), "/streams/%s", remote.text);
    else
        snprintf(path, sizeof(path), "/streams?limit=%llu", (unsigned long long)remote.limit);
    return call(&remote, is_end ? "DELETE" : "GET", path, is_end ? print_ended : print_streams);
}

int cli_drain(int argc, char **argv)
{
    struct remote remote;
    int code = parse(argc, argv, "drain", &remote);

    if (code != EXIT_DONE)
        return code;
    if (remote.wants_help) {
        puts("exec-gateway drain -c FILE      as SIGTERM: no new requests, open streams live until "
             "drain_timeout");
        return EXIT_DONE;
    }
    return remote.text != NULL ? cli_usage("drain: unexpected argument \"%s\"", remote.text)
                               : call(&remote, "POST", "/drain", print_state);
}
