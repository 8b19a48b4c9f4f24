/* wcache.h - prepared weights, kept in files for the next start.
 *
 * One file for each matrix, named by what it was made of: the bytes of the
 * tensor, its description, the plugin and the layout. A file carries hashes of
 * its own content, checked before it is used; whatever does not fit is removed
 * and made again. Where it may be, a file is mapped and is the storage: nothing
 * is copied, and no page has to be cleared. So it must not be cut while it is in
 * use; removing it does no harm. The folder must be private: prepared bytes go
 * to a plugin unchecked. What lies in a device's own memory is not kept.
 * The thread that loads weights. */
#ifndef BITNET_ENGINE_WCACHE_H
#define BITNET_ENGINE_WCACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/engine/weights.h"
#include "core/model/sums.h"

struct wcache;

/* max_size: bytes of all files together; the oldest ones make room. need_size
 * is what this model will take: ERR_LIMIT when that is more. */
int wcache_open(struct wcache **out, struct plug *, const char *dir, uint64_t max_size,
                uint64_t need_size, struct err *);
/* Logs what was used and kept. */
void wcache_close(struct wcache *);

/* Looks for the files of all n weights that have no handle, by the sums of their
 * tensors (NULL: none is found). found says of each whether its storage is there,
 * and kept, that a file is. */
void wcache_find(struct wcache *, struct sums *, struct weight *w, uint32_t n);
/* The plugin says that w's storage is not what it should be: gone, with its file. */
void wcache_refuse(struct wcache *, struct weight *w);
/* Keeps the prepared storage of a w that wcache_find did not find. The first
 * failure is logged, and ends keeping. */
void wcache_keep(struct wcache *, const struct weight *w);

#endif
