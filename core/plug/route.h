/* route.h - which device does what.
 *
 * A candidate is a device whose offer meets the determinism floor. With more
 * than one, the stopwatch decides, on the real shape, for one row and for
 * many; scalar-ref is measured too and never preferred on equal time. A pin
 * from the configuration wins. Results are kept per description, so equal
 * layers are measured once. Main thread, before the engine starts. */
#ifndef BITNET_PLUG_ROUTE_H
#define BITNET_PLUG_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "bitnet_plugin.h"
#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/plug/plug.h"

struct route_opts {
    uint32_t min_det;             /* BNP_DET_*: the floor                      */
    bool strict;                  /* scalar-ref is no fallback unless pinned   */
                                  /* or the only plugin installed              */
    const char *pin_linear, *pin_attn, *pin_point;   /* plugin ids, or NULL    */
    const char *exclude;          /* parity failed: not this plugin, or NULL   */
};

struct route;

int route_open(struct route **out, struct plug *, const struct route_opts *, struct err *);
void route_close(struct route *);

/* The device for it, and its offer. ERR_PLUGIN when there is no candidate; the
 * text names each device and why it is none. */
int route_linear(struct route *, const struct bnp_weight_desc *, struct dev **, struct bnp_offer *,
                 struct err *);
int route_attn(struct route *, const struct bnp_attn_desc *, struct dev **, struct bnp_offer *,
               struct err *);
int route_point(struct route *, const struct bnp_point_desc *, struct dev **, struct bnp_offer *,
                struct err *);

/* The table of what was asked, what was chosen or "missing", what each
 * candidate measured and why each loser lost; one line each. */
void route_explain(const struct route *, struct buf *out);

#endif
