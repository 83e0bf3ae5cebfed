/* cli/cli.h — the commands of exec-gateway. Each gets the arguments after its name, prints what
 * people read on standard error and what programs read on standard output, and returns the exit
 * code: 0 done, 1 failed, 2 called wrongly. */
#pragma once

#include "base/buf.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

int cli_main(int argc, char **argv);

int cli_serve(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_dev(int argc, char **argv);
int cli_token(int argc, char **argv);
int cli_computer(int argc, char **argv);
int cli_session(int argc, char **argv);
int cli_port(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_streams(int argc, char **argv);
int cli_drain(int argc, char **argv);
int cli_version(int argc, char **argv);

/* "exec-gateway: words" on standard error; returns EXIT_USAGE. */
int cli_usage(const char *format, ...) PRINTF_LIKE(1, 2);
