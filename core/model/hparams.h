/* hparams.h - the numbers of a model, read from its keys and bounded. */
#ifndef BITNET_MODEL_HPARAMS_H
#define BITNET_MODEL_HPARAMS_H

#include "core/model/arch.h"

/* Everything but glu and tied_head. The counts are then bounded and agree with
 * each other; whether the tensors agree with them is model.c's to check. */
int hparams_read(struct hparams *, const struct gguf *, const struct arch *, struct err *);

#endif
