/* hf.h - a Hugging Face directory as a container of keys and tensors.
 *
 *   config.json                      graph and sizes     hf_config.h
 *   tokenizer.json and its like      tokenizer.ggml.*    hf_tokenizer.h
 *   model.safetensors, or
 *   model.safetensors.index.json
 *   and the files it names           tensors             safetensors.h
 *
 * What comes out has the keys and the tensor names of the GGUF that a converter
 * would write, so whoever reads a GGUF reads a directory. Tensors stay where
 * they lie in the files' maps, with types of their own (wtype.h):
 *
 *   packed U8            HF_U8, and its weight_scale, made to multiply, as
 *                        blk.N.x.scale
 *   latent floats        HF_LATENT_*
 *   embedding, norms     the float type that they have
 *
 * q and k of llama graphs are read in the row order of a GGUF (head_rows). */
#ifndef BITNET_MODEL_HF_H
#define BITNET_MODEL_HF_H

#include <stdbool.h>

#include "core/base/err.h"
#include "core/model/gguf.h"

/* A GGUF file or a Hugging Face directory, whichever path is. */
int hf_open_any(struct gguf **out, const char *path, struct err *);

#endif
