/* tl_tiles.h - the tiles of TL1 and TL2, bitnet.cpp's lookup-table encodings.
 *
 * Both are made for kernels that take a tile of rows and columns at once, and
 * the file does not say how large the tiles are: whoever reads a tensor must
 * know them for its shape, as the program did that wrote it. Where two sets of
 * tiles are in use for a shape nothing in a file tells them apart, for both
 * order the same bytes. */
#ifndef BITNET_MODEL_TL_TILES_H
#define BITNET_MODEL_TL_TILES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/model/wsrc.h"

enum tl_kind { TL1, TL2 };

/* The tiles of a shape, checked to fit it. preset: NULL or "auto", "setup_env",
 * "ini", or "MxK:BM/BY/bm,..." for shapes of which none are published. *guessed:
 * auto chose one of two sets. The message names no tensor. */
int tl_tiles_find(struct wsrc_tiles *, bool *guessed, enum tl_kind, uint32_t rows, uint32_t cols,
                  const char *preset, struct err *);
/* Whether a preset can be read at all, to its end. */
int tl_tiles_check(const char *preset, struct err *);

/* Bytes of a TL2 tensor: 32 of them are the scale's, the last. false when the
 * shape has none. */
bool tl2_size(uint64_t rows, uint64_t cols, uint64_t *size);

#endif
