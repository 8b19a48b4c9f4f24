/* strict.h - proof before service.
 *
 * strict_check holds every device that the route uses against scalar-ref, bit
 * for bit (or within the offered bound), on this model's own shapes and rows.
 * Normal mode runs it when engine.parity asks for it and disables what fails;
 * strict mode always runs it and refuses to start. [main thread] */
#ifndef BITNET_ENGINE_STRICT_H
#define BITNET_ENGINE_STRICT_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/engine/forward.h"

/* The table of every family and shape checked goes to `table`, a line each
 * (also when all is well). 0, or ERR_STRICT with the first failure in err, its
 * device disabled. */
int strict_check(struct forward *, struct buf *table, struct err *);

#endif
