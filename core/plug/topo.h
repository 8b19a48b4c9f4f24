/* topo.h - cores, caches and NUMA nodes, by hwloc, as far as this process may
 * use them (affinity and cgroup limits respected). */
#ifndef BITNET_PLUG_TOPO_H
#define BITNET_PLUG_TOPO_H

#include <stdbool.h>
#include <stdint.h>

#include "bitnet_plugin.h"
#include "core/base/err.h"

struct topo {
    struct bnp_topo abi;          /* what plugins are told                     */
    uint32_t n_cores;             /* physical cores this process may use, of    */
                                  /* the fastest kind                          */
    int *worker_cpu;              /* [n_workers] OS processor index, or -1     */
    char cpu_name[64];            /* "AMD EPYC 9654"                           */
    struct hwloc_topology *hw;    /* for placing memory                        */
};

#define TOPO_MAX_WORKERS 1024

/* A worker that may not move waits for whoever has its core, and all others
 * wait for it: binding pays only where a wrong core costs more than that. AUTO
 * binds where there are several NUMA nodes or kinds of cores, or cores of
 * several threads, and nowhere else. */
enum topo_bind { TOPO_BIND_AUTO, TOPO_BIND_YES, TOPO_BIND_NO };

/* n_threads 0: one worker per usable physical core of the fastest kind. isa_mask removes bits
 * from what the processor has. */
int topo_open(struct topo *, uint32_t n_threads, enum topo_bind, uint64_t isa_mask,
              struct err *);
void topo_close(struct topo *);

#endif
