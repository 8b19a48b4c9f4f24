/* workmem.h - memory that a device computes on, wherever that is.
 *
 * A device with BNP_DEV_HOST_MEM computes on the host's memory, any other on
 * its own, which only it may touch. */
#ifndef BITNET_ENGINE_WORKMEM_H
#define BITNET_ENGINE_WORKMEM_H

#include <stdbool.h>
#include <stdint.h>

#include "bitnet_plugin.h"
#include "core/base/err.h"
#include "core/plug/plug.h"

static inline bool workmem_private(const struct dev *d)
{
    return d && !(d->info.flags & BNP_DEV_HOST_MEM);
}

/* size bytes with BNP_SLACK behind them, for what (in messages); kind is
 * BNP_MEM_*. d may be NULL: the host's memory. *out is empty after an error:
 * ERR_NOMEM, or what the device said. */
int workmem_get(struct plug *, struct dev *d, uint32_t kind, uint64_t size, uint64_t align,
                const char *what, bnp_span *out, struct err *);
/* Takes an empty span too, and empties it. */
void workmem_put(struct plug *, struct dev *d, bnp_span *);

#endif
