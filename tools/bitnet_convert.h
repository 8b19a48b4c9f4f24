/* bitnet_convert.h - the parts of `bitnet convert`.
 *
 * A plan says what becomes of every tensor of the model that is read; then the
 * tensors are written one after the other. Nothing is kept of a tensor but the
 * row that is being read, and what its encoding needs (enc.h). */
#ifndef BITNET_TOOLS_CONVERT_H
#define BITNET_TOOLS_CONVERT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/model/model.h"
#include "tools/bitnet_bar.h"
#include "tools/write/enc.h"
#include "tools/write/gguf_file.h"

struct convert_item {
    const struct gguf_tensor *t;
    const struct wsrc *w;         /* the same, open                            */
    const struct enc *enc;        /* NULL: its bytes are copied                */
    char name[64];
    uint64_t size;                /* bytes in the new file                     */
};

struct convert {
    struct model *m;
    struct wsrc_opts opts;        /* of what is read                           */
    const struct enc *type;       /* of the matrices                           */
    const struct enc *head;       /* of embedding and head; NULL: as it is     */
    const char *out_preset;       /* tiles of TL1 and TL2                      */
    bool absmean;

    struct convert_item *item;    /* [n]                                       */
    struct gguf_file_tensor *list;/* [n] the same for the file                 */
    uint32_t n, n_other;
    struct wsrc *other;           /* tensors that the model has not opened     */
    struct gguf_put keys;

    struct gguf_file file;
    struct bar bar;
    uint64_t done, all;           /* elements                                  */

    /* For the report. */
    uint32_t n_ternary, n_absmean;
    double worst, mse;            /* of the tensors that absmean made ternary: */
    char worst_name[64];          /* the smallest correlation with what they   */
                                  /* were, and its mean squared error          */
    float rounded;                /* largest relative change of a scale that   */
                                  /* the encoding holds as a half              */
};

/* bitnet_convert_plan.c: items, list and keys. */
int convert_plan(struct convert *, struct err *);

/* bitnet_convert_tensor.c: everything after the header. */
int convert_tensor(struct convert *, const struct convert_item *, struct err *);

#endif
