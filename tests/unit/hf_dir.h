/* hf_dir.h - small Hugging Face directories, right or wrong on purpose.
 *
 * The configuration is a json_t and the tensors are a list, which a test may
 * edit before hf_dir_write puts them into a folder of their own: drop an entry,
 * lie about a shape, move a tensor to another file. Not for code that may fail:
 * running out of memory, room or disk aborts. */
#ifndef TESTS_UNIT_HF_DIR_H
#define TESTS_UNIT_HF_DIR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/model/model.h"

struct hf_dir_tensor {
    char name[128];
    const char *dtype;           /* "BF16"                                    */
    uint32_t n_dims;
    uint64_t dim[4];             /* the last is the fastest                   */
    unsigned file;               /* shard                                     */
    struct buf data;
};

struct hf_dir {
    char path[64];               /* a folder in /tmp, from hf_dir_new on      */
    json_t *config;
    struct hf_dir_tensor t[256];
    unsigned n_t;
    unsigned n_file;             /* shards; 0 and 1: model.safetensors        */
    json_t *index;               /* written in place of the true one, or NULL */
};

/* How a model's weights are written. */
enum hf_dir_weights { HF_DIR_MULTIPLY, HF_DIR_DIVIDE, HF_DIR_LATENT };

/* An empty directory with the tokenizer.json of the model's vocabulary. */
void hf_dir_new(struct hf_dir *, const struct model *);
/* What the checkpoint was that became this model: its tensors under the names
 * of transformers, q and k of llama graphs in the order of halves. Floats stay
 * as they are; latent weights are those that the model computes with, in F32. */
void hf_dir_of(struct hf_dir *, const struct model *, enum hf_dir_weights);
struct hf_dir_tensor *hf_dir_add(struct hf_dir *, const char *name, const char *dtype,
                                 uint32_t n_dims, uint64_t d0, uint64_t d1, const void *p,
                                 size_t n);
struct hf_dir_tensor *hf_dir_find(struct hf_dir *, const char *name);
void hf_dir_drop(struct hf_dir *, const char *name);

/* One file of the tensors whose file is `shard`, as the format has it. */
void hf_dir_file(const struct hf_dir *, unsigned shard, struct buf *out);
void hf_dir_write(const struct hf_dir *);
void hf_dir_put(const struct hf_dir *, const char *file, const void *p, size_t n);
void hf_dir_free(struct hf_dir *);          /* removes the folder too */

/* -1, 0, 1 of rows x cols as packed U8: quarters of the rows, low bits first. */
void hf_dir_pack(uint64_t rows, uint64_t cols, const int8_t *w, struct buf *out);

#endif
