/* bitnet_perplexity.h - the parts of `bitnet perplexity`: what is computed, and
 * what is said about it. */
#ifndef BITNET_TOOLS_PERPLEXITY_H
#define BITNET_TOOLS_PERPLEXITY_H

#include "tools/bitnet_logfile.h"
#include "tools/bitnet_score.h"
#include "tools/bitnet_stat.h"

struct ppl_row {                  /* one position                              */
    double nll, nll_ref, kld;
    bool scored;                  /* a token follows it                        */
    bool same_top;
    int rc;                       /* of the reference's row                    */
    struct err err;
};

struct ppl {
    /* what is asked */
    const char *text_file, *ref_file, *save_file;      /* or NULL              */
    enum log_encoding encoding;   /* of save_file                              */
    uint32_t n_ctx, max_window, chunk;
    /* what is computed: rows of every sequence */
    const struct log_seq *seq;    /* [n_seq]                                   */
    uint32_t n_seq, n_seq_text;   /* used; that the text has                   */
    uint64_t n_row;
    bool bos;
    struct logfile ref;           /* when ref_file                             */
    struct logfile_out save;      /* when save_file                            */
    struct score score;
    uint32_t n_vocab, at;         /* at: the sequence under way                */
    uint64_t n_done;              /* rows                                      */
    const struct score_rows *now; /* the step's                                */
    struct ppl_row *row;          /* [max_out]                                 */
    uint8_t *bytes;               /* [max_out] rows of save_file               */
    double *scratch;              /* [n_workers][2 * n_vocab]                  */
    /* what came of it */
    struct stat_sum nll, nll_ref, kld;
    double cross;                 /* sum of nll * nll_ref                      */
    uint64_t n_same;              /* positions whose likeliest token is equal  */
    double *kld_all;              /* [n_row]                                   */
    double seconds;
    uint64_t n_tok;               /* tokens that went through the model        */
};

/* All sequences: sums, and the rows of save_file. */
int ppl_run(struct ppl *, struct loaded *, struct err *);
void ppl_free(struct ppl *);
int ppl_print(struct ppl *, const struct loaded *, struct err *);

#endif
