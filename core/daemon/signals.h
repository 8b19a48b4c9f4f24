/* signals.h - what other processes, and failing disks, tell bitnetd.
 *
 * One thread takes all signals; every other thread has them blocked. */
#ifndef BITNET_DAEMON_SIGNALS_H
#define BITNET_DAEMON_SIGNALS_H

#include "core/base/err.h"

enum signals_phase { SIGNALS_LOADING, SIGNALS_SERVING, SIGNALS_STOPPING };

/* [main thread, before others start] While loading, a signal ends the process
 * with status 0; while serving, the first makes signals_fd readable; after
 * that, the next ends the process with status 1. */
int signals_start(struct err *);
void signals_phase(enum signals_phase);          /* [any] */
int signals_fd(void);                            /* readable after SIGTERM or SIGINT */
/* Readable after SIGHUP, whenever it came, until it is read. */
int signals_reload_fd(void);
/* A mapped file that shrinks, or whose disk fails, ends the process with one
 * line that names path. */
void signals_watch_file(const char *path);

#endif
