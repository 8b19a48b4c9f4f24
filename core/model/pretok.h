/* pretok.h - cuts text into the pieces that byte-level BPE merges within.
 *
 * A pre-tokenizer is a short list of regular expressions. The first splits
 * the text into matches and the gaps between them; each next one splits every
 * piece so far, seeing nothing outside it. All bytes come out, in order.
 *
 * A struct pretok is immutable: any number of runs may use it at once, each
 * run by one thread. */
#ifndef BITNET_MODEL_PRETOK_H
#define BITNET_MODEL_PRETOK_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/buf.h"
#include "core/base/err.h"

enum { PRETOK_MAX_STAGES = 4 };

struct pretok;

/* name as in tokenizer.ggml.pre, aliases included. ERR_UNSUPPORTED lists the
 * known ones. */
int pretok_open(struct pretok **out, struct str name, struct err *);
void pretok_close(struct pretok *);

const char *pretok_name(const struct pretok *);          /* the rules' own name */
bool pretok_ignore_merges(const struct pretok *);        /* a piece that is a token stays whole */
bool pretok_add_bos(const struct pretok *);              /* unless the file says otherwise */

/* A run over one text, which the caller keeps until pretok_stop. */
struct pretok_run {
    const struct pretok *pretok;
    const char *text;         /* as given                                        */
    const char *subject;      /* what the expressions see: text, or `copy`       */
    char *copy;               /* text with every byte that is not UTF-8 replaced */
    struct pretok_stage {
        size_t begin, end;    /* the piece being split                           */
        size_t at;            /* how far                                         */
        size_t next_end;      /* a match at `at` is known to end here; 0: is not */
    } stage[PRETOK_MAX_STAGES];
    void *match, *context;    /* PCRE2's */
};

int pretok_start(struct pretok_run *, const struct pretok *, const char *text, size_t n);
/* 1 and a piece, never empty; 0 at the end; ERR_NOMEM or ERR_INTERNAL. */
int pretok_next(struct pretok_run *, struct str *piece);
void pretok_stop(struct pretok_run *);   /* also after a start that failed */

#endif
