/* agent/process_exit.h — what the exit of a process means in the words of process.proto. */
#pragma once

#include <signal.h>

#include "connect/process_message.h"

enum { PROCESS_STATUS_BYTES = 96 };

/* The end event for what waitid(2) told: "exit status 3", or "signal: killed" with exit code -1, as
 * Go's os/exec words them; `error` repeats the status unless the process exited with 0. `text`
 * holds the words and must live as long as the event. */
void process_exit_describe(const siginfo_t *info, char text[PROCESS_STATUS_BYTES],
                           struct process_event *out_end);
