/* The routes file: any bytes are a table or an error that says where; records of a table copy and
 * compare. */
#include "fuzz.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "route/route_store_file.h"

/* A file in memory: on a disk each run waited for the disk, 300 a second instead of thousands. */
static int file = -1;
static char path[32];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct route_table *table = NULL;
    struct buf error = { 0 };

    if (file == -1) {
        file = memfd_create("routes", MFD_CLOEXEC);
        ENSURE(file != -1);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
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
