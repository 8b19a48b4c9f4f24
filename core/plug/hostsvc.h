/* hostsvc.h - what one plugin is given: a bnp_host, and what stands behind it. */
#ifndef BITNET_PLUG_HOSTSVC_H
#define BITNET_PLUG_HOSTSVC_H

#include <pthread.h>
#include <stdbool.h>

#include "bitnet_plugin.h"
#include "core/base/err.h"
#include "core/plug/mem.h"
#include "core/plug/plug.h"

struct hostsvc {
    bnp_host abi;                 /* abi.ctx is this struct                    */
    char id[64];
    struct workers *workers;
    struct mem mem;
    const char *(*option)(void *ctx, const char *id, const char *key);
    void *option_ctx;
    pthread_mutex_t lock;         /* over said                                 */
    char said[256];               /* the last report; empty: none              */
};

/* Borrows plug's topology and workers and what opts->option gives. */
int hostsvc_open(struct hostsvc **out, const char *id, struct plug *, const struct plug_opts *,
                 struct err *);
void hostsvc_close(struct hostsvc *);      /* warns when memory was not released */

#endif
