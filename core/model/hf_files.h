/* hf_files.h - the safetensors files of a directory as one list of tensors.
 *
 * One file, model.safetensors, or those that model.safetensors.index.json
 * names: each name is a file of the directory itself, each tensor is in the
 * file that the index says, and no file has another. */
#ifndef BITNET_MODEL_HF_FILES_H
#define BITNET_MODEL_HF_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/model/safetensors.h"

struct hf_item {
    const struct st_tensor *t;
    const struct safetensors *file;
};

struct hf_files {
    struct safetensors **file;
    size_t n_file, cap_file;
    struct hf_item *item;        /* [n_item], by name; no name occurs twice   */
    size_t n_item;
};

int hf_files_open(struct hf_files *, const char *dir, struct err *);
void hf_files_close(struct hf_files *);

const struct hf_item *hf_files_find(const struct hf_files *, const char *name);
uint64_t hf_files_size(const struct hf_files *);         /* bytes of all */
/* The n bytes at p have been read: their pages may go. */
void hf_files_drop(const struct hf_files *, const uint8_t *p, uint64_t n);

/* "dir/name", or NULL. */
const char *hf_path(struct arena *, const char *dir, const char *name);
bool hf_exists(const char *path);

#endif
