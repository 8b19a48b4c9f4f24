/* bitnet_bench.h - the parts of `bitnet bench`: what is asked, what is timed,
 * what is said about it. */
#ifndef BITNET_TOOLS_BENCH_H
#define BITNET_TOOLS_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/engine/batch.h"
#include "core/engine/forward.h"
#include "core/engine/sample.h"
#include "core/plug/limits.h"
#include "tools/bitnet.h"

enum { BENCH_LIST = 16 };

struct bench_list {
    uint32_t at[BENCH_LIST];
    unsigned n;
};

struct bench_ask {
    uint32_t n_prompt, n_gen;     /* tokens; 0: not measured                   */
    struct bench_list n_seq;      /* sequences that decode together            */
    struct bench_list depth;      /* tokens that are there before              */
    uint32_t n_rep;
    uint32_t chunk;               /* rows in a step of a prompt                */
    bool all_logits;              /* as sampling without a top-k needs them    */
};

/* One measurement: a prompt, or n_gen steps of n_seq sequences. */
struct bench_row {
    char name[40];                /* "pp512", "tg128@d4096"                    */
    bool decode;
    uint32_t n_tok, n_seq, depth, n_rep;
    uint32_t n_step;              /* forward passes in one repetition          */
    double s, s_min, s_max;       /* seconds of a repetition: median, extremes */
    double step_s, step_s_p10, step_s_p90;      /* of a pass                   */
    double bytes, macs;           /* that one repetition must read and do      */
    double head_rows;             /* rows of the head computed for one output  */
    struct limits_now now;        /* the machine meanwhile: mean of samples    */
                                  /* before and after each repetition          */
};

struct bench {
    const struct bench_ask *ask;
    struct forward *f;
    struct batch b;
    struct sampler *sampler;
    struct kv_seq *seq;           /* [max_seq]                                 */
    int32_t *last;                /* [max_seq] the token each goes on from     */
    int32_t *id;                  /* [chunk] made-up tokens of a prompt        */
    uint32_t max_seq;
    double *time;                 /* [n_rep] then [n_rep * steps]              */
    double rss_mib;               /* peak so far, without what samples took    */
};

/* Positions and KV tokens that the asked rows need at most. */
uint64_t bench_positions(const struct bench_ask *);
uint32_t bench_max_seq(const struct bench_ask *);

/* Adds one of n_rep + 1 samples of the machine's limits to the row. */
void bench_sample(struct bench *, struct bench_row *);
/* The process's largest memory, samples excluded. */
double bench_rss_mib(struct bench *);

int bench_open(struct bench *, struct forward *, const struct bench_ask *, struct err *);
void bench_close(struct bench *);
/* All sequences hold `depth` tokens afterwards: one is computed, the others
 * get copies of its pages, each its own memory. */
int bench_fill(struct bench *, uint32_t depth, struct err *);
int bench_prompt(struct bench *, uint32_t depth, struct bench_row *, struct err *);
int bench_decode(struct bench *, uint32_t depth, uint32_t n_seq, struct bench_row *, struct err *);

/* -------------------------------------------------------------------- output */

struct bench_run {                /* what all rows share                       */
    double load_s;
    double rss_mib;               /* the process's peak, yardsticks excluded   */
    const char *commit;           /* or NULL                                   */
    char *command;
};

enum bench_format { BENCH_MD, BENCH_CSV, BENCH_JSON, BENCH_JSONL };

int bench_print(enum bench_format, const struct loaded *, const struct bench_run *,
                const struct bench_row *, unsigned n, struct err *);

#endif
