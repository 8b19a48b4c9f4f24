/* scan.h - what a plugin file shows and calls, read from its tables without
 * running any of it. */
#ifndef VERIFY_SCAN_H
#define VERIFY_SCAN_H

#include "core/base/err.h"

/* say gets one finding at a time, without the file's name. */
typedef void scan_say(void *ctx, const char *finding);

/* Exports, forbidden calls (forbidden.h), libraries, run paths, text
 * relocations, lazy binding, an executable stack, code that runs at load time.
 * Calls go by name, so what a name does not show is not found: an instruction
 * (cpuid, syscall) written into the code, or a call through a pointer that
 * somebody else gave. Only processor queries are also looked for among the
 * local names, which a stripped file does not have. */
int scan_file(const char *path, scan_say *, void *ctx, struct err *);

#endif
