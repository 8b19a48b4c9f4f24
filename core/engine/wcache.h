/* wcache.h - prepared weights, kept in files for the next start.
 *
 * One file for each matrix, named by what it was made of: the bytes of the
 * tensor, its description, the plugin and the layout. A file carries a hash of
 * its own content, checked chunk by chunk while it is read; whatever does not
 * fit is removed and made again. The folder must be private: prepared bytes go
 * to a plugin unchecked. What lies in a device's own memory is not kept.
 * The thread that loads weights. */
#ifndef BITNET_ENGINE_WCACHE_H
#define BITNET_ENGINE_WCACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/engine/weights.h"

struct wcache;

/* max_size: bytes of all files together; the oldest ones make room. need_size
 * is what this model will take: ERR_LIMIT when that is more. */
int wcache_open(struct wcache **out, struct plug *, const char *dir, uint64_t max_size,
                uint64_t need_size, struct err *);
/* Logs what was used and kept. */
void wcache_close(struct wcache *);

/* Fills w's storage; false when it has to be prepared. */
bool wcache_load(struct wcache *, const struct weight *w);
/* Keeps the prepared storage of the w that wcache_load did not find. The first
 * failure is logged, and ends keeping. */
void wcache_keep(struct wcache *, const struct weight *w);

#endif
