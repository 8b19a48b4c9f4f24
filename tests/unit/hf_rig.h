/* hf_rig.h - one tokenizer that is made from the files of a directory, for
 * programs with check. */
#ifndef TESTS_UNIT_HF_RIG_H
#define TESTS_UNIT_HF_RIG_H

#include <check.h>

#include "hf_make.h"

static struct err e;
static struct gguf *made;              /* of make                              */
static struct buf bytes;               /*   and what it lies in                */

static inline void setup(void)
{
    e = (struct err){ 0 };
    made = NULL;
    bytes = (struct buf){ 0 };
}

static inline void teardown(void)
{
    gguf_close(made);
    buf_free(&bytes);
}

static inline void make(const struct hf_tokenizer_files *f, uint32_t n_vocab)
{
    ck_assert_msg(hf_make_gguf(&made, &bytes, f, n_vocab, &e) == 0, "%s", e.text);
}

#endif
