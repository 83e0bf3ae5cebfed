/* Runs a fuzz target once on every file of the directories that are named: yesterday's findings
 * stay fixed. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

enum { FILE_BYTES = 1 << 20 };

/* An exact allocation, so that AddressSanitizer sees a read behind the end. */
static void replay(const char *path)
{
    static uint8_t bytes[FILE_BYTES];
    FILE *file = fopen(path, "rb");

    if (file == NULL) {
        perror(path);
        exit(1);
    }
    size_t len = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    uint8_t *exact = malloc(len > 0 ? len : 1);
    for (size_t i = 0; exact != NULL && i < len; i++)
        exact[i] = bytes[i];
    if (exact != NULL)
        LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}

static size_t replay_directory(const char *path)
{
    DIR *directory = opendir(path);
    size_t count = 0;

    if (directory == NULL) {
        perror(path);
        exit(1);
    }
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        char file_path[1024];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(file_path, sizeof(file_path), "%s/%s", path, entry->d_name);
        replay(file_path);
        count++;
    }
    closedir(directory);
    return count;
}

int main(int argc, char **argv)
{
    size_t count = 0;

    for (int i = 1; i < argc; i++)
        count += replay_directory(argv[i]);
    printf("%zu inputs replayed\n", count);
    return count > 0 ? 0 : 1; /* an empty corpus tests nothing */
}
