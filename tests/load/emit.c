/* tests/load/emit.c — the program exec-load-emit: what runs in the guest under the loads `stream` and `attach`. Writes lines of BYTES
 * bytes, RATE a second on a fixed schedule, each with the time of its writing, and ends after SECONDS. Links nothing but libc and
 * starts fast: a run starts thousands of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MIN = 19, LINE_MAX = 4096 };

static void write_line(char *line, size_t size)
{
    struct timespec wall;
    char stamp[24];
    ssize_t count;

    clock_gettime(CLOCK_REALTIME, &wall);
    snprintf(stamp, sizeof(stamp), "@%016llu",
             (unsigned long long)wall.tv_sec * 1000000ull +
                 (unsigned long long)wall.tv_nsec / 1000);
    memcpy(line, stamp, 17);
    do
        count = write(STDOUT_FILENO, line, size);
    while (count == -1 && errno == EINTR);
    if (count == -1)
        exit(0); /* nobody reads any more */
}

int main(int argc, char **argv)
{
    static char line[LINE_MAX];
    double rate = argc > 1 ? strtod(argv[1], NULL) : 1;
    long size = argc > 2 ? strtol(argv[2], NULL, 10) : 32;
    double seconds = argc > 3 ? strtod(argv[3], NULL) : 60;
    struct timespec at, start;

    if (argc > 4 || rate <= 0 || rate > 100000 || size < LINE_MIN || size > LINE_MAX ||
        seconds <= 0) {
        fputs("usage: exec-load-emit RATE BYTES(19-4096) SECONDS\n", stderr);
        return 2;
    }
    memset(line, '.', sizeof(line));
    line[17] = ' ';
    line[size - 1] = '\n';
    clock_gettime(CLOCK_MONOTONIC, &start);
    /* not all in step: the first line comes anywhere in the first period */
    double phase = (double)(getpid() % 1000) / 1000;
    for (double k = phase; k / rate < seconds; k += 1) {
        double due = k / rate;
        at.tv_sec = start.tv_sec + (time_t)due;
        at.tv_nsec = start.tv_nsec + (long)((due - (double)(time_t)due) * 1e9);
        if (at.tv_nsec >= 1000000000) {
            at.tv_nsec -= 1000000000;
            at.tv_sec++;
        }
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
            ;
        write_line(line, (size_t)size);
    }
    return 0;
}
