/* rig.h - a model, its devices and a forward pass, for tests.
 *
 * Every function ends the test when something fails. */
#ifndef BITNET_TESTS_GOLDEN_RIG_H
#define BITNET_TESTS_GOLDEN_RIG_H

#include <stdint.h>

#include "core/engine/batch.h"
#include "core/engine/forward.h"
#include "core/model/model.h"
#include "core/plug/plug.h"

struct rig_opts {                 /* 0: a value that suits the golden prompts  */
    const char *model;            /* path; NULL: models/story.gguf             */
    enum i2s_layout layout;       /* of its I2_S tensors                       */
    const char *tl_preset;        /* tiles of its TL1 and TL2 tensors          */
    const char *plugin;           /* id; NULL: scalar-ref                      */
    const char *variant;          /* the plugin's option of that name; or NULL */
    uint64_t isa_mask;            /* 0: all that the processor has             */
    uint32_t n_threads, page_tok, kv_format, n_ctx, max_tok, max_seq, max_out;
};

struct rig {
    struct model *model;
    struct plug *plug;
    struct forward *f;
    struct batch batch;
};

struct model *rig_model(const char *path);
struct plug *rig_plug(const struct rig_opts *);
struct forward_conf rig_conf(const struct rig_opts *);

void rig_open(struct rig *, const struct rig_opts *);
void rig_close(struct rig *);

/* Logits of every one of id[0..n), n_vocab floats each, into out; at most
 * chunk rows in a step (0: all at once). */
void rig_logits(struct rig *, const int32_t *id, uint32_t n, uint32_t chunk, float *out);

/* The golden prompts: token ids and the reference's greedy continuation. */
enum { GOLDEN_N = 10, GOLDEN_NEW = 48, GOLDEN_MAX = 256 };

struct golden {
    char *text;
    int32_t id[GOLDEN_MAX], greedy[GOLDEN_NEW];
    uint32_t n;
};

void rig_golden(struct golden g[GOLDEN_N]);
void rig_golden_free(struct golden g[GOLDEN_N]);

#endif
