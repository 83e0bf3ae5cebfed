/* cli/table.h — JSON answers as people read them: rows under headings, or lines of name and value. */
#pragma once

struct json_t;

/* One line per object of the array, a column per name that some row has. */
void table_print(struct json_t *rows, const char *const *names);

/* "name   value", objects inside as "name.inner". */
void table_print_object(struct json_t *object);
