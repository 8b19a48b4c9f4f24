/* place_rig.h - a rig whose devices have memory of their own: scalar-ref and
 * the two devices of tests/plugins/devmem. Every function ends the test when
 * something fails. */
#ifndef TESTS_UNIT_PLACE_RIG_H
#define TESTS_UNIT_PLACE_RIG_H

#include "core/engine/forward_parts.h"
#include "tests/golden/rig.h"

#define REF "org.bitnetd.scalar-ref"
#define MEM "org.bitnetd.test.devmem"
#define MEM0 MEM "#0"
#define MEM1 MEM "#1"

enum { PLACE_TOK = 24 };          /* tokens of the text                        */

struct place_opts {
    const char *linear, *attn, *point;   /* pins                               */
    const char *layers;
    bool strict;
};

extern struct rig place_rig;
extern int32_t place_id[PLACE_TOK];
extern float *place_want;         /* [PLACE_TOK][n_vocab] by scalar-ref alone  */

/* Once for a program, before its tests; then for each test. */
void place_rig_want(void);
void place_rig_setup(void);
void place_rig_teardown(void);

/* An option of devmem, from the next stream on; it stays until the test ends. */
void place_rig_option(const char *key, const char *value);
struct forward_conf place_rig_conf(const struct place_opts *);
void place_rig_plug(void);
/* plug, forward and batch. */
void place_rig_open(const struct place_opts *);
struct dev *place_rig_dev(const char *id, uint32_t index);

/* Steps of `chunk` rows (0: one step) from `from` to `to`; all logits of each
 * must be scalar-ref's. how names the case. */
void place_rig_check(const char *how, uint32_t chunk);
/* One step into the batch, without running it; its pages are seq's. */
extern struct kv_seq place_seq;
void place_rig_seq(void);
void place_rig_fill(uint32_t from, uint32_t n, int want_out);
void place_rig_equal(const char *how, uint32_t from, uint32_t n);

#endif
