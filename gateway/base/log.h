/* base/log.h — lifecycle and error lines on standard error: time, level, words, key=value pairs. The access log is
 * proxy/access_log.h. Never give it a token, a key or a query string. */
#pragma once

#include "base/ensure.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Set once at start and at reload by the main thread. */
void log_set_level(enum log_level level);

/* One line, one write(2); safe from every thread. Control characters are replaced. */
void log_line(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
