/* cli/serve.c — `serve` and `check`: one reads the configuration and runs, the other stops before
 * the first socket. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "config/config.h"
#include "gateway.h"

static const struct option options[] = {
    { "config", required_argument, NULL, 'c' },
    { "reference", no_argument, NULL, 'r' },
    { "help", no_argument, NULL, 'h' },
    { 0 },
};

struct arguments {
    const char *file;
    bool wants_reference;
    bool wants_help;
};

static int parse(int argc, char **argv, const char *command, struct arguments *out)
{
    int option;

    optind = 1;
    opterr = 0;
    *out = (struct arguments){ 0 };
    while ((option = getopt_long(argc, argv, ":c:h", options, NULL)) != -1) {
        if (option == 'c')
            out->file = optarg;
        else if (option == 'r' && strcmp(command, "check") == 0)
            out->wants_reference = true;
        else if (option == 'h')
            out->wants_help = true;
        else
            return cli_usage(option == ':' ? "%s: %s needs a value" : "%s: unknown option %s",
                             command, argv[optind - 1]);
    }
    if (optind < argc)
        return cli_usage("%s: unexpected argument \"%s\"", command, argv[optind]);
    if (out->file == NULL && !out->wants_help && !out->wants_reference)
        return cli_usage("%s: needs -c FILE", command);
    return EXIT_DONE;
}

static enum status load(const char *file, struct config **out_config)
{
    struct buf words = { 0 };
    enum status status = config_load(file, &words, out_config);

    if (status != STATUS_OK)
        fprintf(stderr, "exec-gateway: %s\n", buf_text(&words));
    buf_deinit(&words);
    return status;
}

int cli_serve(int argc, char **argv)
{
    struct arguments arguments;
    struct config *config = NULL;
    struct gateway *gateway = NULL;
    int code = parse(argc, argv, "serve", &arguments);

    if (code != EXIT_DONE)
        return code;
    if (arguments.wants_help) {
        puts("exec-gateway serve -c FILE\n\nSignals: TERM drains (a second one ends at once), HUP "
             "reloads, USR1 reopens the access log.\n"
             "Keys of FILE: docs/config.md");
        return EXIT_DONE;
    }
    gateway_block_signals();
    if (load(arguments.file, &config) != STATUS_OK || gateway_create(config, &gateway) != STATUS_OK)
        return EXIT_FAILED;
    code = gateway_run(gateway);
    gateway_destroy(&gateway);
    return code;
}

int cli_check(int argc, char **argv)
{
    struct arguments arguments;
    struct config *config = NULL;
    int code = parse(argc, argv, "check", &arguments);

    if (code != EXIT_DONE)
        return code;
    if (arguments.wants_help) {
        puts("exec-gateway check -c FILE       exit 0 when FILE would start; else the first error "
             "as FILE:LINE:COLUMN and 1\n"
             "exec-gateway check --reference   all keys as Markdown");
        return EXIT_DONE;
    }
    if (arguments.wants_reference) {
        struct buf text = { 0 };

        config_print_reference(&text);
        fputs(buf_text(&text), stdout);
        buf_deinit(&text);
        return EXIT_DONE;
    }
    if (load(arguments.file, &config) != STATUS_OK)
        return EXIT_FAILED;
    fprintf(stderr, "exec-gateway: %s is valid\n", arguments.file);
    config_unref(&config);
    return EXIT_DONE;
}
