/* cli/table.c — see table.h. */
#include "cli/table.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "base/mem.h"

enum { COLUMNS_MAX = 16, VALUE_BYTES = 512 };

/* Control characters never reach a terminal. */
static const char *value_text(json_t *value, char *text)
{
    if (value == NULL || json_is_null(value))
        return "-";
    if (json_is_string(value))
        snprintf(text, VALUE_BYTES, "%s", json_string_value(value));
    else if (json_is_integer(value))
        snprintf(text, VALUE_BYTES, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        snprintf(text, VALUE_BYTES, "%g", json_real_value(value));
    else
        snprintf(text, VALUE_BYTES, "%s", json_is_true(value) ? "yes" : "no");
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return text[0] != '\0' ? text : "-";
}

static size_t width_of(json_t *rows, const char *name)
{
    size_t width = 0, i;
    char text[VALUE_BYTES];
    json_t *row;

    json_array_foreach(rows, i, row)
    {
        json_t *value = json_object_get(row, name);
        size_t len = value != NULL ? strlen(value_text(value, text)) : 0;

        width = len > width ? len : width;
    }
    return width > 0 && strlen(name) > width ? strlen(name) : width;
}

void table_print(json_t *rows, const char *const *names)
{
    size_t widths[COLUMNS_MAX] = { 0 }, i;
    char text[VALUE_BYTES];
    json_t *row;

    for (size_t c = 0; names[c] != NULL && c < COLUMNS_MAX; c++) {
        widths[c] = width_of(rows, names[c]);
        if (widths[c] > 0)
            printf("%-*s  ", (int)widths[c], names[c]);
    }
    if (json_array_size(rows) > 0)
        putchar('\n');
    json_array_foreach(rows, i, row)
    {
        for (size_t c = 0; names[c] != NULL && c < COLUMNS_MAX; c++)
            if (widths[c] > 0)
                printf("%-*s  ", (int)widths[c], value_text(json_object_get(row, names[c]), text));
        putchar('\n');
    }
}

/* A token is longer than a cell. */
static void print_whole(const char *text)
{
    for (; *text != '\0'; text++)
        putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
    putchar('\n');
}

static bool name_ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);

    return len > end_len && strcmp(name + len - end_len, end) == 0;
}

/* What programs get as a plain number (--json), people get with its unit. */
static void print_number(const char *name, json_t *value)
{
    time_t seconds = (time_t)json_integer_value(value);
    struct tm parts;
    char text[VALUE_BYTES];

    if (json_is_integer(value) && name_ends_with(name, "_at") &&
        gmtime_r(&seconds, &parts) != NULL &&
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) > 0)
        printf("%s\n", text);
    else if (json_is_integer(value) && name_ends_with(name, "_bytes"))
        printf("%.1f MiB\n", (double)json_integer_value(value) / (1 << 20));
    else
        printf("%s\n", value_text(value, text));
}

static void print_object(json_t *object, const char *prefix)
{
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value)
    {
        char full[128];

        snprintf(full, sizeof(full), "%s%s", prefix, name);
        if (json_is_object(value)) {
            strncat(full, ".", sizeof(full) - strlen(full) - 1);
            print_object(value, full);
        } else if (!json_is_array(value)) {
            printf("%-24s ", full);
            if (json_is_string(value))
                print_whole(json_string_value(value));
            else
                print_number(name, value);
        }
    }
}

void table_print_object(json_t *object)
{
    print_object(object, "");
}
