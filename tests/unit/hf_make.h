/* hf_make.h - a vocabulary from the files of a Hugging Face directory that lie
 * in memory, by way of the keys that they become. */
#ifndef TESTS_UNIT_HF_MAKE_H
#define TESTS_UNIT_HF_MAKE_H

#include "core/model/hf_tokenizer.h"
#include "core/model/vocab.h"

/* The keys as a GGUF without tensors, which bytes keeps; gguf_close it, then
 * buf_free(bytes). An error that is not the keys' own ends the program. */
int hf_make_gguf(struct gguf **, struct buf *bytes, const struct hf_tokenizer_files *,
                 uint32_t n_vocab, struct err *);

#endif
