/* street.h - three devices for tests of the route, on a clock of their own.
 *
 * scalar-ref under other names: quick, slow, and itself. All compute like it;
 * a test makes them slower, less exact or farther away as it needs. */
#ifndef BITNET_TESTS_UNIT_STREET_H
#define BITNET_TESTS_UNIT_STREET_H

#include <stdint.h>

#include "core/plug/route.h"

#define QUICK_ID "org.test.quick"
#define SLOW_ID  "org.test.slow"

extern struct plug *plug;         /* the real one, which owns scalar-ref       */
extern struct plug street;        /* what the route sees: quick, slow, itself  */
extern struct plug_entry entry[3];
extern struct plug_entry *entries[3];
extern struct dev dev[3];
extern struct dev *devs[3];
extern bnp_linear_ops linear[3];
extern struct err err;
extern struct route *route;
extern struct dev *chosen;
extern bnp_offer offer;

extern const bnp_weight_desc weight;      /* 64x128, up to 64 rows             */
extern const bnp_attn_desc attention;
extern const bnp_point_desc pointwise;

/* The stopwatch runs on this clock, so that a busy machine changes nothing: a
 * look at it takes a microsecond, and a function what it says with wait_us.
 * Programs link with --wrap=clock_gettime. */
void wait_us(int64_t us);

extern unsigned n_mul;            /* calls of slow_mul                         */
int slow_mul(bnp_stream *, bnp_span act, uint32_t n, const bnp_linear_item *, bnp_span scratch);

void street_setup(void);          /* slow and scalar-ref have slow_mul, 4 ms   */
void street_teardown(void);
void open_route(struct route_opts);       /* min_det 0: exact                  */
void expect_explained(const char *text);

#endif
