/* The configuration: any text is a configuration or an error; the files that it names are not there,
 * so that nothing is opened. */
#include "fuzz.h"

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *config = NULL;
    struct buf error = { 0 };
    enum status status = config_parse("/nonexistent/x.yaml", slice_of(data, size), &error, &config);

    ENSURE(status == STATUS_OK || status == STATUS_CONFIG_INVALID);
    ENSURE((status == STATUS_OK) == (config != NULL) && (status == STATUS_OK || error.len > 0));
    config_unref(&config);
    buf_deinit(&error);
    return 0;
}
