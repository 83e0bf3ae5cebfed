/* main.c — the program: its first argument is a command of cli/. */
#include "base/mem.h"
#include "cli/cli.h"

int main(int argc, char **argv)
{
    mem_prepare();
    return cli_main(argc, argv);
}
