/* plug.h - every plugin file that was found, and every device that works.
 *
 * plug_open scans one directory, decides per file from its note whether it
 * may be loaded, loads it, opens its devices and puts each through the
 * known-answer test. A bad plugin is an entry with a reason, never a failure.
 * Main thread only, before the engine starts; afterwards the registry is
 * read-only except for dev.disabled, which the engine thread owns, and the
 * counts of a device's calls, which any thread may read. */
#ifndef BITNET_PLUG_PLUG_H
#define BITNET_PLUG_PLUG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bitnet_plugin.h"
#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/plug/mem.h"
#include "core/plug/note.h"
#include "core/plug/topo.h"
#include "core/plug/workers.h"

#define PLUG_REF_ID "org.bitnetd.scalar-ref"

enum plug_state {
    PLUG_REJECTED,                /* reason says why                           */
    PLUG_AVAILABLE,               /* loaded, tested; no family of it in use    */
    PLUG_ACTIVE                   /* the route uses it                         */
};

struct plug_entry {
    char *path;
    const char *file;             /* the last part of path                     */
    bool has_note;
    struct note note;
    enum plug_state state;
    char reason[256];             /* empty unless rejected, or a remark        */
    uint32_t n_dev;               /* devices that passed                       */
    uint32_t det[3];              /* BNP_DET_* offered for small probe shapes: */
                                  /* linear, attn, point; 0: not offered       */
    void *dl;
    struct bnp_plugin api;        /* the plugin's tables, zero-filled to       */
    struct bnp_device_ops device; /* today's size: a missing function is NULL  */
    struct bnp_linear_ops linear;
    struct bnp_attn_ops attn;
    struct bnp_point_ops point;
    struct hostsvc *host;         /* what the plugin was given                 */
};

enum dev_call {                   /* what the engine thread spends time in     */
    DEV_CALL_LINEAR, DEV_CALL_ATTN, DEV_CALL_POINT,
    DEV_CALL_COPY,                /* to and from its memory: handing over      */
    DEV_CALL_WAIT,                /* until it has done what it was given       */
    DEV_N_CALL
};

struct dev {                      /* one open device                           */
    struct plug_entry *plugin;
    bnp_device *d;
    struct bnp_device_info info;
    uint32_t index;               /* within its plugin                         */
    bool disabled;                /* failed while serving                      */
    const struct bnp_device_ops *ops;
    const struct bnp_linear_ops *linear;  /* NULL: family not offered          */
    const struct bnp_attn_ops *attn;
    const struct bnp_point_ops *point;
    /* Calls of steps, and the time they took. An asynchronous device's calls
     * return when the work is queued: it is waited for in DEV_CALL_WAIT. */
    _Atomic uint64_t n_call[DEV_N_CALL], call_ns[DEV_N_CALL];
};

struct plug_opts {
    const char *dir;
    uint32_t n_threads;           /* 0: one per physical core                  */
    enum topo_bind bind;
    uint64_t isa_mask;            /* UINT64_MAX: all the processor has         */
    const char *only;             /* load this id (and scalar-ref), or NULL    */
    bool need_ref;                /* fail when scalar-ref is not usable        */
    bool no_test;                 /* skip the known-answer test (list --fast)  */
    /* [any] the value of key in section [plugin:id], or NULL */
    const char *(*option)(void *ctx, const char *id, const char *key);
    void *option_ctx;
};

struct plug {
    struct topo topo;
    struct workers *workers;
    struct plug_entry **entry;    /* sorted by file name                       */
    unsigned n_entry;
    struct dev **dev;             /* usable devices, scalar-ref's last         */
    unsigned n_dev;
    struct dev *ref;              /* scalar-ref's device, or NULL              */
    struct mem mem;               /* what plug_mem_alloc gave                  */
    struct known_answers *known;  /* probe.h: what scalar-ref answered         */
    struct {                      /* limits.h; 0: not measured yet             */
        double read_gbs, int8_gmacs;
    } limits;
};

/* Fails when the directory cannot be read, when others than its owner (root
 * or this user) may write it, or when need_ref and scalar-ref is unusable. */
int plug_open(struct plug **out, const struct plug_opts *, struct err *);
void plug_close(struct plug *);

/* The plugin directory that belongs to the running program. 0 or ERR_IO, out
 * then the place where it was expected. */
int plug_default_dir(char *out, size_t n);

/* The sentence that the plugin gave to host->report last, on any thread, or
 * the name of the status. Clears it. */
const char *plug_reported(struct plug_entry *, int status, char out[256]);
/* A bnp_status as our code, err filled with "id: what: reported sentence". */
int plug_fail(struct plug_entry *, int status, const char *what, struct err *);

const char *plug_state_name(enum plug_state);
const char *plug_det_name(uint32_t det);
const char *plug_call_name(enum dev_call);       /* "linear", ..., "wait"      */

/* Host memory as plugins get it: aligned, zero-filled, BNP_SLACK readable past
 * the end; counted, for the memory table. */
void *plug_mem_alloc(struct plug *, uint64_t size, uint64_t align);
void plug_mem_free(struct plug *, void *p);

#endif
