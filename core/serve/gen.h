/* gen.h - what a client asked to be generated: engine requests, one answer.
 *
 * A dialect (completions, chat, messages, ...) reads a body, opens a gen, fills
 * params, adds prompts as token ids, and calls gen_start. gen.c submits, waits,
 * cancels and frees; whenever something can be said it calls the dialect's
 * functions, which append JSON to the answer. One prompt gives params.n
 * choices; choice i of each draws with seed + i.
 *
 *     static enum answer start(struct exchange *x)
 *     {
 *         struct gen *g = gen_open(x, &my_dialect);
 *         struct api_error e;
 *         if (!g)
 *             return api_refuse_memory(x);
 *         if (read(x, g, &e) || gen_add(g, id, n_id, &e))
 *             return api_refuse_error(x, &e);
 *         return gen_start(g);
 *     }
 *
 * Everything here is [http], one exchange at a time, unless said otherwise. */
#ifndef BITNET_SERVE_GEN_H
#define BITNET_SERVE_GEN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/arena.h"
#include "core/base/buf.h"
#include "core/engine/engine.h"
#include "core/engine/reply.h"
#include "core/engine/sample.h"
#include "core/model/chat.h"
#include "core/serve/api_json.h"
#include "core/serve/exchange.h"

enum {
    GEN_MAX_CHOICE = 16,          /* of one answer that is text                */
    GEN_MAX_INPUT = 256,          /* of one that is vectors                    */
    GEN_WINDOW = 16               /* requests that the engine has at once      */
};

#define GEN_PARAMS_DEFAULT \
    { .sample = SAMPLE_DEFAULT, .n = 1, .priority = PRIORITY_NORMAL, .n_draft = REQUEST_DRAFT_CONF }

struct gen_params {               /* the same for every choice                 */
    struct sample_params sample;  /* seed: valid only if has_seed              */
    bool has_seed;
    uint32_t max_new;             /* 0: engine.max_new_default                 */
    unsigned n;                   /* choices of each prompt, at least one      */
    struct str stop[REPLY_MAX_STOP];
    unsigned n_stop;
    bool logprob;                 /* of every token, and of n_top others       */
    uint32_t n_top;
    bool prompt_logprob;          /* of the prompt's tokens too                */
    bool prompt_only;             /* the answer is empty: max_tokens 0         */
    enum priority priority;
    uint32_t n_draft;             /* as request's                              */
    bool no_cache;                /* as request's                              */
    uint32_t timeout_ms;          /* 0: the model's deadline_s                 */
};

struct gen_prompt {
    const int32_t *id;            /* [n], in the arena or elsewhere as long    */
    uint32_t n;
};

struct gen_choice {               /* one engine request and its text           */
    struct request req;
    struct reply reply;
    unsigned index;               /* in gen's choice                           */
    struct buf text;              /* a stream's: since the last piece; else all */
    uint32_t tok_from, tok_to;    /* with params.logprob: tokens of that text, */
                                  /* in reply_tok and req.logprob              */
    size_t text_at;               /* where text begins in the whole one, bytes */
    enum finish finish;           /* FINISH_NONE while it goes on; then STOP   */
                                  /* (see also reply_stop) or LENGTH           */
    void *own;                    /* the dialect's, choice_size bytes          */
    const struct gen_prompt *prompt;
    bool req_open, reply_open, submitted, ended, late;   /* gen.c's            */
};

struct dialect {
    const char *id_prefix;        /* "cmpl-"                                   */
    size_t choice_size;           /* of each choice's own, zero at first       */
    /* A stream's events, whole ones, appended to out. begin is called once,
     * before the rest; piece when text or tokens came; end_choice once per
     * choice, after its last piece; end after all choices. begin, end: may be
     * NULL. */
    void (*begin)(struct gen *, struct buf *out);
    void (*piece)(struct gen *, struct gen_choice *, struct buf *out);
    void (*end_choice)(struct gen *, struct gen_choice *, struct buf *out);
    void (*end)(struct gen *, struct buf *out);
    void (*error_event)(struct buf *out, const struct api_error *);
    /* All of the answer, every choice ended. */
    void (*whole)(struct gen *, struct buf *out);
    void (*close)(struct gen *);  /* what own holds outside the arena; may be NULL */
};

struct gen {
    const struct dialect *dialect;
    struct exchange *x;
    const struct serve_model *model;
    struct arena arena;           /* lives as long as the gen                  */
    void *own;                    /* the dialect's                             */
    const char *at;               /* the field that holds the prompts          */
    char id[64];                  /* prefix and 32 hex digits                  */
    int64_t created;              /* seconds since 1970                        */
    bool stream;
    enum request_kind kind;       /* REQUEST_EMBED: no text, but req.embedding */
    bool embed_mean;
    int32_t end_id[CHAT_MAX_END]; /* tokens that end a turn                    */
    uint32_t n_end;
    struct grammar *grammar;      /* every text is one of it; ours to unref    */
    struct gen_params params;
    struct gen_choice *choice;    /* [n_choice], prompt by prompt              */
    unsigned n_choice, n_submitted, n_ended;
    struct gen_prompt *prompt;    /* [n_prompt]                                */
    unsigned n_prompt;
};

/* Belongs to the exchange, which frees it. params has the defaults. NULL: no
 * memory. */
struct gen *gen_open(struct exchange *, const struct dialect *);
/* ERR_ARG, error filled, when the prompt is empty or leaves no room for one
 * token; ids themselves are the engine's to judge. */
int gen_add(struct gen *, const int32_t *id, size_t n, struct api_error *);
/* Text to ids in the arena, and gen_add. flags: VOCAB_*. */
int gen_add_text(struct gen *, struct str text, unsigned flags, struct api_error *);
/* 400 when the model's template is not known. */
int gen_check_chat(const struct serve_model *, struct api_error *);
/* A conversation; what ends its model's turns ends the answer too. Once, after
 * params has the request's stop strings. */
int gen_add_chat(struct gen *, const struct chat_in *, struct api_error *);
/* Every text of the gen is one of this grammar. param: the field that asked for
 * it, for a 400. Once. */
int gen_set_grammar(struct gen *, const char *gbnf, size_t n, const char *param, struct api_error *);
/* Last of all: opens and submits. */
enum answer gen_start(struct gen *);

/* Another model's name is a 404; NULL and "" are the one served. A model of
 * embeddings is a 400 unless kind is REQUEST_EMBED. */
int gen_check_model(const struct gen *, const char *model, struct api_error *);

struct api_usage gen_usage(const struct gen *);

#endif
