/* base/log.c — see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static _Atomic int lowest_level = LOG_INFO;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&lowest_level, (int)level, memory_order_relaxed);
}

void log_line(enum log_level level, const char *format, ...)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    char line[2048];
    struct timespec now;
    struct tm utc;

    if ((int)level < atomic_load_explicit(&lowest_level, memory_order_relaxed))
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t len = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &utc);
    len += (size_t)snprintf(line + len, sizeof(line) - len, ".%03ldZ %s ", now.tv_nsec / 1000000,
                            names[level]);
    size_t words_start = len;

    va_list arguments;
    va_start(arguments, format);
    int words_len = vsnprintf(line + len, sizeof(line) - len - 1, format, arguments);
    va_end(arguments);
    if (words_len > 0)
        len +=
            (size_t)words_len < sizeof(line) - len - 1 ? (size_t)words_len : sizeof(line) - len - 2;
    for (size_t i = words_start; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[len++] = '\n';
    (void)!write(STDERR_FILENO, line, len);
}
