/* bitnet_inspect.h - what the parts of `bitnet inspect` share. */
#ifndef BITNET_TOOLS_INSPECT_H
#define BITNET_TOOLS_INSPECT_H

#include "tools/bitnet.h"

/* ------------------------------------------------ bitnet_inspect_tensor.c */

struct tensor_look {              /* a tensor, every weight read               */
    bool read;                    /* else why says why not                     */
    bool ternary;                 /* code counts; else least .. zeros          */
    char why[400];
    uint64_t n;                   /* elements                                  */
    uint64_t n_scale;             /* 0: none                                   */
    float scale_min, scale_max;
    uint64_t code[4];             /* how many are -1, 0, +1, +2 (code 3)       */
    float least, most;            /* values                                    */
    uint64_t zeros;
};

void tensor_look(struct tensor_look *, const struct gguf *, const struct gguf_tensor *,
                 const struct wsrc_opts *);
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
