/* workers.h - the pool behind bnp_host.parallel.
 *
 * Worker 0 is the caller; the others are threads bound as the topology says.
 * Waiting workers spin briefly, then sleep; where there are fewer cores than
 * workers they sleep at once. Denormals are kept in every one. */
#ifndef BITNET_PLUG_WORKERS_H
#define BITNET_PLUG_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "bitnet_plugin.h"
#include "core/base/err.h"
#include "core/plug/topo.h"

struct workers;

int workers_open(struct workers **out, const struct topo *, struct err *);
void workers_close(struct workers *);

/* Binds the calling thread as worker 0, for a thread that will call
 * workers_run for long; threads that it starts later inherit the binding. */
void workers_bind_caller(const struct workers *);

/* Since the last lap, for the thread that calls workers_run: the processor time
 * of all workers; the longest time that one of them could have run and had no
 * processor (0 where the system does not say); jobs for more than the caller. */
struct workers_lap {
    uint64_t cpu_ns, wait_ns, n_job;
};
struct workers_lap workers_lap(struct workers *);
void workers_end_laps(struct workers *);  /* closes a file for each worker     */

/* Round to nearest, no exceptions trapped, denormals kept: what the arithmetic
 * contract needs, for the calling thread. True when it had been otherwise. */
bool workers_float_env(void);

/* One call at a time. Returns when all n_tasks have run. With BNP_PAR_STATIC
 * task t runs on worker t * n_workers / n_tasks, every time. */
void workers_run(struct workers *, uint32_t n_tasks, uint32_t flags, bnp_task_fn *fn, void *arg);

#endif
