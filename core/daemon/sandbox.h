/* sandbox.h - after the start, the few system calls that serving needs.
 *
 * Everything that is read from outside with trust (configuration, plugins,
 * model) was read before. A process that a client took over could then start
 * no program, become nobody else, reach no other machine, map no new machine
 * code. What is not on the list fails with EPERM and is written to the kernel's
 * audit log. There is no way back, nor for a child. */
#ifndef BITNET_DAEMON_SANDBOX_H
#define BITNET_DAEMON_SANDBOX_H

#include <stdbool.h>

#include "core/base/err.h"

struct sandbox_conf {
    bool connect;                 /* connections to other machines too: for what */
                                  /*   the server sends by itself              */
};

/* [main thread] For all threads that there are and will be. */
int sandbox_enter(const struct sandbox_conf *, struct err *);

#endif
