/* hf_same.h - two files with the same tokenizer; for tests with check. */
#ifndef TESTS_UNIT_HF_SAME_H
#define TESTS_UNIT_HF_SAME_H

#include "core/model/gguf.h"

/* An array, byte for byte. */
void hf_same_array(const struct gguf *want, const struct gguf *got, const char *key);
/* Ids of the texts of a .inp file, which the vocabularies' own tests hold
 * against the published ids. */
void hf_same_ids(const struct gguf *want, const struct gguf *got, const char *inp);
/* A number or truth value; -1 when there is no such key. */
int hf_same_number(const struct gguf *, const char *key);

#endif
