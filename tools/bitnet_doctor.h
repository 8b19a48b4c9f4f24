/* bitnet_doctor.h - what the parts of `bitnet doctor` share.
 *
 * A file may say too little, or something wrong, about how it is to be read. A
 * reading is one value for one such question: a byte order, an activation, a
 * pre-tokenizer, a template. Each is judged by the likelihood of a fixed text,
 * in nats: the right one is better by hundreds, and none other is. Main thread
 * only. */
#ifndef BITNET_TOOLS_DOCTOR_H
#define BITNET_TOOLS_DOCTOR_H

#include "tools/bitnet.h"
#include "tools/bitnet_score.h"

enum doctor_layer { DOCTOR_FILE, DOCTOR_TOKENIZER, DOCTOR_GRAPH, DOCTOR_KERNEL, DOCTOR_N_LAYER };
enum doctor_state { DOCTOR_SKIPPED, DOCTOR_OK, DOCTOR_MEND, DOCTOR_BROKEN };

/* A reading replaces the one in use when the text is likelier by a factor of
 * e^20 under it: half a nat for each of 40 words. */
#define DOCTOR_CLEAR 20.0

struct reading {
    const char *what;             /* "activation"                              */
    char name[48];                /* "relu2"                                   */
    bool in_use, best;
    bool ran;                     /* else why says why not                     */
    uint32_t n_tok;               /* that were judged                          */
    double nats;                  /* -ln p of all of them                      */
    char why[512];
};

struct doctor {
    char path[PATH_MAX];
    struct model_opts opts;       /* as asked for; then the best readings      */
    struct loaded l;              /* plugins, and between two steps no model   */
    bool is_generator;            /* has a head: a text has a likelihood       */
    bool was_read;                /* the graph makes sense of the text         */
    struct {
        enum doctor_state state;
        char text[400];
    } layer[DOCTOR_N_LAYER];
    struct reading reading[48];
    unsigned n_reading;
    struct buf ini;               /* lines of bitnet.ini that mend it          */
    char section[16];             /* the last one put into ini                 */
    struct buf convert;           /* options of `bitnet convert` that do       */
    char type[16];                /* "i2_s": what the matrices are; empty:     */
                                  /* what `bitnet convert` does not write      */
    unsigned n_warning;
    char warning[8][256];         /* the model's                               */
};

/* The fixed text: plain English, and some of everything that pre-tokenizers
 * treat differently. */
extern const char doctor_text[];
extern const char doctor_question[], doctor_answer[];

/* Sets a layer's verdict: a worse one replaces it, another thing to mend is
 * added. */
void doctor_say(struct doctor *, enum doctor_layer, enum doctor_state, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A new reading; NULL: the table is full. */
struct reading *doctor_reading(struct doctor *, const char *what, const char *name, bool in_use);
/* The best of readings from first on that ran, marked so; NULL: none ran.
 * *margin: by how many nats the one in use is worse, or, when the best is in
 * use, the next one; INFINITY: there is no other. */
struct reading *doctor_best(struct doctor *, unsigned first, double *margin);
double doctor_per_token(const struct reading *);              /* nats */
/* section.key = value mends it; option: the same for `bitnet convert`. */
void doctor_mend(struct doctor *, const char *section, const char *key, const char *value,
                 const char *option);
/* The model under opts, without its warnings. */
int doctor_open(struct doctor *, const struct model_opts *, struct err *);
/* Ids of the text, cut to the model's context. */
int doctor_ids(const struct model *, const struct vocab *, const char *text, struct tokens *,
               struct err *);

/* The layers; they return what stops the examination, not what it finds. */
int doctor_file(struct doctor *, struct err *);
int doctor_graph(struct doctor *, struct err *);
int doctor_tokenizer(struct doctor *, struct err *);
int doctor_kernel(struct doctor *, struct err *);

enum doctor_state doctor_verdict(const struct doctor *);
int doctor_report(const struct doctor *, struct err *);

#endif
