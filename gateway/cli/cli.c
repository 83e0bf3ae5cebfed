/* cli/cli.c — picks the command. Without one, or with an option first, it is `serve`. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *words;
} commands[] = {
    { "serve", cli_serve, "serve -c FILE                 run the gateway (the default command)" },
    { "check", cli_check,
      "check -c FILE                 validate the configuration, print the first error" },
    { "dev", cli_dev,
      "dev [--listen HOST:PORT] …    gateway, guest agent and a session in one; needs nothing "
      "else" },
    { "token", cli_token, "token mint|inspect …          make or read a token" },
    { "computer", cli_computer,
      "computer put|get|delete …      write and read the record of a computer in Redis" },
    { "session", cli_session,
      "session create|list|delete …   make, show and revoke access sessions" },
    { "port", cli_port, "port publish|list|delete …    publish ports of a computer" },
    { "status", cli_status, "status -c FILE                how a running gateway is" },
    { "streams", cli_streams, "streams [end] -c FILE …       what is open; end one" },
    { "drain", cli_drain, "drain -c FILE                 let a running gateway end in peace" },
    { "version", cli_version, "version                       print the version" },
};

static void print_help(FILE *stream)
{
    fputs("exec-gateway " GATEWAY_VERSION " — the edge in front of cloud computers\n\nusage:\n",
          stream);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(stream, "  exec-gateway %s\n", commands[i].words);
    fputs("\n`exec-gateway COMMAND --help` says more. Documentation: docs/\n", stream);
}

int cli_usage(const char *format, ...)
{
    va_list arguments;

    fputs("exec-gateway: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return EXIT_USAGE;
}

int cli_main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "--help";

    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(argc > 1 ? stdout : stderr);
        return argc > 1 ? EXIT_DONE : EXIT_USAGE;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        return cli_version(1, argv);
    if (name[0] == '-')
        return cli_serve(argc, argv);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    return cli_usage("unknown command \"%s\"; `exec-gateway --help` lists them", name);
}

int cli_version(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return cli_usage("version: takes no argument");
    puts("exec-gateway " GATEWAY_VERSION);
    return EXIT_DONE;
}
