/* enc_rig.h - one matrix through an encoder and through the reader. */
#ifndef TESTS_UNIT_ENC_RIG_H
#define TESTS_UNIT_ENC_RIG_H

#include "core/model/wsrc.h"
#include "gguf_make.h"
#include "tools/write/enc.h"

/* The bytes of a tensor, appended to out. Fails the test when it cannot. */
void enc_rig_codes(const char *enc, const char *preset, uint32_t rows, uint32_t cols,
                   const int8_t *w, float scale, struct buf *out);
void enc_rig_floats(const struct enc *, uint32_t rows, uint32_t cols, const float *x,
                    struct buf *out);

/* The same as a file of one tensor, open. */
struct enc_rig {
    struct gguf_make made;
    struct buf bytes;
    struct gguf *g;
    struct wsrc w;
};
void enc_rig_open(struct enc_rig *, const struct enc *, const char *preset, uint32_t rows,
                  uint32_t cols, const struct buf *bytes);
void enc_rig_close(struct enc_rig *);

#endif
