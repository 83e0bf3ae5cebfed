/* The routes file: any bytes are a table or an error that says where; records of a table copy and
 * compare. */
#include "fuzz.h"

#include <stdlib.h>
#include <unistd.h>

#include "route/route_store_file.h"

static char path[] = "/tmp/routes-fuzz-XXXXXX";
static int file = -1;

static void clean_up(void)
{
    close(file);
    (void)unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct route_table *table = NULL;
    struct buf error = { 0 };

    if (file == -1) {
        file = mkstemp(path);
        ENSURE(file != -1);
        atexit(clean_up);
    }
    ENSURE(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size);

    enum status status = route_table_load(path, &error, &table);

    ENSURE(status == STATUS_OK || status == STATUS_CONFIG_INVALID);
    ENSURE((status == STATUS_OK) == (table != NULL));
    ENSURE(status == STATUS_OK || slice_starts_with(buf_slice(&error), slice_from_string(path)));
    if (table != NULL) {
        const struct record *record = route_table_find(table, RECORD_COMPUTER, SLICE("cmp_1"));

        if (record != NULL) {
            struct record *copy = record_copy(record);

            ENSURE(record_equal(record, copy));
            record_unref(&copy);
        }
    }
    route_table_unref(&table);
    buf_deinit(&error);
    return 0;
}
