/* memplan.h - what the machine can give, against what the model needs.
 *
 * The plan is checked before one weight is touched: running out of memory
 * half-way would cost minutes, or the neighbour's process. */
#ifndef BITNET_ENGINE_MEMPLAN_H
#define BITNET_ENGINE_MEMPLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

struct mem_place;
struct mem_plan;
struct forward_conf;
struct bnp_limits;

/* Bytes of tables and requests that serving takes besides: nothing of it grows
 * later. Of a configuration with every 0 replaced. */
uint64_t memplan_serve(const struct forward_conf *, const struct bnp_limits *);

/* Sets total from the parts. ERR_LIMIT when it exceeds plan->limit; fixed
 * says that the limit is the configuration's. */
int memplan_check(struct mem_plan *, bool fixed, struct err *);
/* The same for one device's own memory, whose limit may be unknown. */
int memplan_check_place(struct mem_place *, struct err *);
void memplan_print(const struct mem_plan *, struct buf *out);

#endif
