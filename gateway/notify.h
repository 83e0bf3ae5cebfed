/* notify.h — tells systemd (Type=notify) how the process stands, without libsystemd: datagrams to
 * $NOTIFY_SOCKET. Silently nothing when there is none. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

void notify_ready(void);
void notify_reloading(void); /* notify_ready() follows, however it went */
void notify_stopping(void);
void notify_successor(pid_t pid); /* the next generation is the service now */
void notify_alive(void);          /* the watchdog's */

/* How often notify_alive() should be called; 0: systemd's watchdog is off. */
uint64_t notify_watchdog_ms(void);
