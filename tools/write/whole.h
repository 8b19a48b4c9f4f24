/* whole.h - a file that no ordinary end of the program leaves half written.
 *
 * A struct file_out whose temporary name goes with a failure, and with SIGINT,
 * SIGTERM and SIGHUP too. SIGKILL and the power do leave it. One at a time in a
 * process, [any one thread]. */
#ifndef BITNET_TOOLS_WRITE_WHOLE_H
#define BITNET_TOOLS_WRITE_WHOLE_H

#include "core/base/file.h"

int whole_open(struct file_out *, const char *path, struct err *);
/* Legal after file_out_commit, and after a failed open. */
void whole_abort(struct file_out *);

#endif
