/* access.h - the access log: a JSON object per request, on a line of its own.
 *
 * What was asked and answered is not in it; log.prompts adds the request's
 * body. */
#ifndef BITNET_SERVE_ACCESS_H
#define BITNET_SERVE_ACCESS_H

#include "core/serve/exchange.h"

struct access;

/* where: "off" or "" (*out is NULL), "stderr", or a file, which is appended to. */
int access_open(struct access **out, const char *where, struct err *);
void access_close(struct access *);              /* NULL is legal */
/* [http] NULL is legal. status: as the log has it, 499 for a client that left. */
void access_put(struct access *, const struct exchange *, unsigned status, uint64_t end_us);

#endif
