/* agent/process_exit.c — see process_exit.h. */
#include "agent/process_exit.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static void describe_signal(const siginfo_t *info, char *text, size_t size)
{
    const char *name = sigdescr_np(info->si_status);
    const char *core = info->si_code == CLD_DUMPED ? " (core dumped)" : "";
    size_t prefix = (size_t)snprintf(text, size, "signal: ");

    if (name != NULL)
        snprintf(text + prefix, size - prefix, "%s%s", name, core);
    else
        snprintf(text + prefix, size - prefix, "signal %d%s", info->si_status, core);
    text[prefix] = (char)tolower((unsigned char)text[prefix]);
}

void process_exit_describe(const siginfo_t *info, char text[PROCESS_STATUS_BYTES],
                           struct process_event *out_end)
{
    *out_end = (struct process_event){ .kind = EVENT_END, .error = SLICE_EMPTY };
    out_end->exited = info->si_code == CLD_EXITED;
    if (out_end->exited) {
        out_end->exit_code = info->si_status;
        snprintf(text, PROCESS_STATUS_BYTES, "exit status %d", info->si_status);
    } else {
        out_end->exit_code = -1;
        describe_signal(info, text, PROCESS_STATUS_BYTES);
    }
    out_end->status = slice_from_string(text);
    if (!out_end->exited || out_end->exit_code != 0)
        out_end->error = out_end->status;
}
