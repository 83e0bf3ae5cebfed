/* agent/pty.c — see pty.h. */
#include "agent/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum status pty_open(struct pty *out_pty)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (fd == -1)
        return STATUS_SYSTEM;
    if (grantpt(fd) == -1 || unlockpt(fd) == -1 ||
        ptsname_r(fd, out_pty->name, sizeof(out_pty->name)) != 0) {
        int error = errno;

        close(fd);
        errno = error;
        return STATUS_SYSTEM;
    }
    out_pty->master = fd;
    return STATUS_OK;
}

static unsigned short cut(uint32_t number)
{
    return (unsigned short)(number < UINT16_MAX ? number : UINT16_MAX);
}

void pty_resize(int master, uint32_t cols, uint32_t rows)
{
    struct winsize size = { .ws_col = cut(cols), .ws_row = cut(rows) };

    (void)ioctl(master, TIOCSWINSZ, &size);
}
