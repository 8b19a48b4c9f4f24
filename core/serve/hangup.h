/* hangup.h - notices clients that leave while their connection is suspended.
 *
 * libmicrohttpd does not look at a suspended connection, and one whose
 * request waits in the queue stays so for long. One thread sleeps on all of
 * them. A client that shuts down only its sending side counts as gone. */
#ifndef BITNET_SERVE_HANGUP_H
#define BITNET_SERVE_HANGUP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

struct hangup;

/* gone is called on the watching thread, at most once per hangup_add. */
int hangup_open(struct hangup **out, void (*gone)(void *ctx, uint64_t id), void *ctx, struct err *);
void hangup_close(struct hangup *);                          /* NULL is legal */

/* [any] id: not 0. False when the kernel has no room: then nothing happens. */
bool hangup_add(struct hangup *, int fd, uint64_t id);
/* [any] Before fd is closed. gone may still be running, for its id. */
void hangup_remove(struct hangup *, int fd);

#endif
