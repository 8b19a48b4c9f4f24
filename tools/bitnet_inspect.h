/* bitnet_inspect.h - what the parts of `bitnet inspect` share. */
#ifndef BITNET_TOOLS_INSPECT_H
#define BITNET_TOOLS_INSPECT_H

#include "tools/bitnet.h"

/* ------------------------------------------------ bitnet_inspect_tensor.c */

/* opts NULL: without reading weights. */
json_t *tensors_json(const struct gguf *, const struct wsrc_opts *opts);
void put_tensors(struct buf *, const struct gguf *, const struct wsrc_opts *opts);

/* ------------------------------------------------- bitnet_inspect_memory.c */

struct memory_look {              /* bytes, one sequence of the whole context  */
    bool known;                   /* else why says why not                     */
    char why[400];
    uint64_t weights, kv, other;  /* other: work, tables                       */
    uint64_t available;
    uint32_t n_ctx;
};

void memory_look(struct memory_look *, struct model *);

#endif
