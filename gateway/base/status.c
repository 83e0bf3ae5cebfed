/* base/status.c — see status.h. */
#include "base/status.h"

#include <pthread.h>

static const struct {
    const char *name; /* as in the table: upper case */
    const char *words;
    unsigned http;
} rows[STATUS_COUNT] = {
#define X(name, http, code, words) [STATUS_##name] = { #name, words, http },
    STATUS_TABLE(X)
#undef X
};

enum { STATUS_NAME_BYTES = 32 };

/* Filled once, read-only afterwards. */
static char lower_names[STATUS_COUNT][STATUS_NAME_BYTES];
static pthread_once_t lower_names_once = PTHREAD_ONCE_INIT;

static void fill_lower_names(void)
{
    for (size_t i = 0; i < STATUS_COUNT; i++)
        for (size_t j = 0; rows[i].name[j] != '\0' && j + 1 < STATUS_NAME_BYTES; j++)
            lower_names[i][j] = rows[i].name[j] == '_' ? '_' : (char)(rows[i].name[j] | 0x20);
}

const char *status_name(enum status status)
{
    ENSURE(status < STATUS_COUNT);
    pthread_once(&lower_names_once, fill_lower_names);
    return lower_names[status];
}

const char *status_words(enum status status)
{
    ENSURE(status < STATUS_COUNT);
    return rows[status].words;
}

unsigned status_http(enum status status)
{
    ENSURE(status < STATUS_COUNT);
    return rows[status].http;
}
