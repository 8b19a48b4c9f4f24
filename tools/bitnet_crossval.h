/* bitnet_crossval.h - the parts of `bitnet crossval`: a reference, what it says
 * about some texts, what this program says, and how far the two are apart.
 *
 * A reference offers what it offers: every rows of logits (a file), the largest
 * log-probabilities of some positions (an endpoint), token ids, a greedy
 * continuation. What it does not is left out, and the report says so. */
#ifndef BITNET_TOOLS_CROSSVAL_H
#define BITNET_TOOLS_CROSSVAL_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/bitnet_logfile.h"
#include "tools/bitnet_score.h"
#include "tools/bitnet_stat.h"

enum { CV_MAX_TEXT = 1024, CV_MAX_NEW = 1024, CV_MAX_TOP = 20 };

struct cv_top {                   /* one of a position's largest               */
    uint32_t pos;
    int32_t id;
    float logprob;
};

struct cv_text {
    struct buf text;              /* empty: only ids are known                 */
    struct tokens id;             /* what both read                            */
    struct tokens ref_id;         /* what an endpoint makes of the text        */
    bool has_ref_id;
    uint32_t first, n_row;        /* positions with whole rows                 */
    uint64_t row;                 /*   and the number of the first             */
    struct cv_top *top;           /* [n_top] by position                       */
    uint32_t n_top, top_cap;
    struct tokens greedy;         /* the reference's continuation,             */
    bool has_greedy;
    struct buf greedy_text;       /*   or, when no ids are known, its text     */
    bool has_greedy_text;
};

struct cv_limits {                /* 0: not judged                             */
    double min_correlation, min_top1, min_topk, min_greedy, max_mse, max_difference;
};

struct cv_ask {
    const char *ref, *tokens, *prompts, *key, *conf, *report;
    uint32_t n_new, n_top, n_text, timeout_s;      /* n_text: 0: all           */
    struct cv_limits limits;
};

struct cv_greedy {
    uint64_t n, n_same;           /* of the reference's, up to the first other */
    uint32_t n_text, n_whole;
    const char *unit;             /* "tokens", "bytes"; NULL: not offered      */
};

struct cv_speed {                 /* tokens a second; 0: not offered           */
    double prompt, decode;
    const char *how;
};

struct cv {
    const struct cv_ask *ask;
    struct cv_text *text;         /* [n_text]                                  */
    uint32_t n_text;
    /* the reference */
    const char *kind;             /* in words                                  */
    struct logfile file;          /* whole rows; rows NULL: none               */
    struct file_map raw;          /* the same, of a file without a header      */
    char ref_model[128];          /* what an endpoint calls it                 */
    char ref_sha[65];             /* of a file                                 */
    bool log_probs;               /* compared are ln p, not logits             */
    struct cv_speed ref_speed;
    /* what came of it */
    uint32_t n_ids, n_ids_same;   /* texts                                     */
    char ids_first[160];          /* the first difference                      */
    uint64_t n_pos;               /* positions compared, whole or of the top   */
    uint32_t n_whole_pos;         /*   those with whole rows                   */
    struct stat_pair all;
    double worst, sum;            /* correlation: of a position, of all        */
    uint64_t n_corr;
    uint32_t worst_text, worst_pos;
    uint64_t n_top1, n_unknown;   /* same likeliest; entries that name no one  */
    double overlap, kld;          /* sums over positions                       */
    struct cv_greedy greedy;
    struct cv_speed speed;
    uint64_t n_prompt_tok, n_new_tok;
    double prompt_s, decode_s;
    char sha[65];                 /* the model's                               */
};

/* What the reference says; a file's, an endpoint's. The model is loaded. */
int cv_open_file(struct cv *, const struct model *, struct err *);
int cv_open_url(struct cv *, const struct model *, struct err *);
void cv_close(struct cv *);

/* Texts: the lines of --prompts, or a few that come with the program. */
int cv_texts(struct cv *, struct err *);
/* What both make of text i: counted, and the first difference described. */
void cv_compare_ids(struct cv *, uint32_t i, const struct tokens *ours, const struct tokens *ref);
/* SHA-256 of a file in hex; "" for what is no regular file. */
int cv_sha256(const char *path, char hex[65], struct err *);

/* Both, side by side. */
int cv_run(struct cv *, struct loaded *, struct err *);

/* The correlation that is judged: of the worst position where rows are whole,
 * else of all entries together. */
double cv_correlation(const struct cv *);
/* The report to standard output, and as JSON to ask->report. */
int cv_print(const struct cv *, const struct loaded *, int verdict, struct err *);

/* ------------------------------------------------------------- an endpoint */

struct url;
int url_open(struct url **, const char *base, const char *key, uint32_t timeout_s, struct err *);
void url_close(struct url *);
/* body: taken over; NULL: GET. 0 with *answer (free it) for 200; 0 and NULL when
 * there is no such thing (400, 404, 405, 422, 500, 501: llama-server says 500 to
 * a field that it does not know); otherwise an error. seconds: how long it took. */
int url_call(struct url *, const char *path, json_t *body, json_t **answer, double *seconds,
             struct err *);

struct pieces;                    /* which token a text is                     */
int pieces_open(struct pieces **, const struct vocab *, struct err *);
void pieces_close(struct pieces *);

/* What an endpoint answered, checked; see bitnet_crossval_answer.c. */
struct answer_in {
    const struct vocab *vocab;
    const struct pieces *pieces;
    struct cv *cv;
    struct cv_text *text;
};
/* POST /tokenize */
int answer_tokens(struct answer_in *, const json_t *root, struct err *);
/* POST /v1/completions; POST /completion. */
int answer_completion(struct answer_in *, const json_t *root, struct err *);
int answer_native(struct answer_in *, const json_t *root, struct err *);

#endif
