/* mem.h - host memory as plugins get it.
 *
 * Zero-filled, aligned, BNP_SLACK bytes readable past the end, counted. Large
 * pieces are fresh pages that nobody has touched: they land on the NUMA node
 * of the worker that writes them first, or on the node asked for. */
#ifndef BITNET_PLUG_MEM_H
#define BITNET_PLUG_MEM_H

#include <stdatomic.h>
#include <stdint.h>

#include "core/plug/topo.h"

struct mem {                      /* [any thread]                              */
    const struct topo *topo;
    _Atomic uint64_t n;           /* pieces given and not taken back           */
    _Atomic uint64_t size;        /* their bytes                               */
};

/* align: a power of two; numa: a node of the topology, -1: anywhere. NULL when
 * there is no memory or a number is impossible. */
void *mem_get(struct mem *, uint64_t size, uint64_t align, int numa);
void mem_put(struct mem *, void *p);

#endif
