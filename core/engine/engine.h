/* engine.h - requests in, tokens out, on one thread of its own.
 *
 * A request belongs to its submitter until engine_submit, to the engine until
 * its `done` becomes nonzero, and to the submitter again after that. What a
 * request gets never depends on who else is being served: the arithmetic is
 * exact, and each draw is keyed by (seed, position). */
#ifndef BITNET_ENGINE_ENGINE_H
#define BITNET_ENGINE_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/hist.h"
#include "core/base/mpsc.h"
#include "core/base/ring.h"
#include "core/engine/forward.h"
#include "core/engine/logprob.h"
#include "core/engine/sample.h"

enum finish {                     /* why a request is done                     */
    FINISH_NONE = 0,
    FINISH_STOP,                  /* an end-of-generation token, which is not  */
                                  /* part of the output                        */
    FINISH_LENGTH,                /* max_new tokens, or the context is full    */
    FINISH_CANCELLED,
    FINISH_ERROR,                 /* req->err says what                        */
    FINISH_DEADLINE,              /* deadline_us came first, waiting or running */
    FINISH_QUEUE,                 /* admit_by_us came before a place was free  */
    FINISH_N
};

enum request_kind {
    REQUEST_GENERATE,             /* tokens that follow the prompt             */
    REQUEST_EMBED                 /* what the model makes of the prompt        */
};

enum priority {                   /* who is admitted first, and who keeps its  */
    PRIORITY_LOW,                 /*   pages when they are short; see sched.h  */
    PRIORITY_NORMAL,
    PRIORITY_HIGH
};

/* Tokens drawn ahead of a slow reader, at most: then the request is parked, and
 * costs no time, until some were taken. */
enum { REQUEST_AHEAD = 1024 };

enum { REQUEST_MAX_TOP = LOGPROB_MAX_TOP, REQUEST_MAX_DRAFT = 16 };
#define REQUEST_DRAFT_CONF UINT32_MAX

/* Outputs of a step beyond one for each sequence: guessed tokens to be checked,
 * tokens of prompts whose probability is wanted. */
enum { ENGINE_MORE_OUT = 32 };

/* Bytes that logprobs and embeddings of all requests together may take: one
 * more gets ERR_LIMIT. */
#define ENGINE_OUTPUT_SIZE (UINT64_C(64) << 20)

struct grammar;

struct request {
    struct mpsc_node node;        /* the engine's                              */
    struct seq *seq;              /* the engine's                              */

    /* set by the submitter, constant afterwards */
    enum request_kind kind;
    enum priority priority;       /* request_open: PRIORITY_NORMAL             */
    uint64_t deadline_us;         /* as clock_us; 0: none                      */
    uint64_t admit_by_us;         /* the same, for its first place; 0: none    */
    bool no_cache;                /* neither reads nor fills the prefix cache  */
    const int32_t *prompt;        /* [n_prompt], at least one                  */
    uint32_t n_prompt;
    uint32_t max_new;             /* tokens to generate, at least one; set by  */
                                  /* request_open, may be lowered              */
    bool ignore_eog;              /* go on past end-of-generation tokens       */
    const int32_t *end_id;        /* [n_end] further tokens that end it, as    */
    uint32_t n_end;               /*   FINISH_STOP; not under ignore_eog       */
    struct sample_params sample;
    struct grammar *grammar;      /* borrowed; NULL: free text                 */
    uint32_t n_draft;             /* tokens guessed from the text so far and   */
                                  /*   checked in one step, at most            */
                                  /*   REQUEST_MAX_DRAFT; 0: off;              */
                                  /*   REQUEST_DRAFT_CONF (from request_open): */
                                  /*   engine_conf's. The answer is the same   */
    bool want_logprob, prompt_logprob;   /* of what is drawn, of the prompt    */
    uint32_t n_top_logprob;       /* and of so many others, for both           */
    bool embed_mean;              /* REQUEST_EMBED: mean over the prompt, else */
                                  /*   its last token; ends as FINISH_STOP     */
    void (*wake)(void *ctx);      /* [engine thread] after tokens or the end   */
    void *wake_ctx;               /*   were made visible; must not block       */

    /* engine to submitter */
    struct ring out;              /* token ids, the next REQUEST_AHEAD of them; */
                                  /*   opened and closed by request_open and   */
                                  /*   request_close; see engine_taken         */
    _Atomic int done;             /* enum finish; released after the last push */
    struct err err;               /* valid once done is FINISH_ERROR           */
    uint32_t n_new;               /* tokens generated, once done               */
    uint32_t n_cached;            /* prompt tokens whose keys came from the    */
                                  /*   prefix cache, once done                 */
    uint32_t n_draft_all, n_draft_ok;    /* tokens guessed; of those, right    */
    /* Taken by engine_submit, freed by request_close; NULL if not asked for. */
    struct token_logprob *logprob;       /* [max_new] i is valid once token i  */
                                  /*   was popped from the ring                */
    struct token_logprob *prompt_logprob_out;   /* [n_prompt] once a token was */
                                  /*   popped, or done; nothing foretells      */
                                  /*   token 0: its logprob is 0, n_top 0      */
    float *embedding;             /* [n_embd] once done; not normalised        */
    uint64_t output_size;         /* bytes of these; the engine's              */
    uint64_t queue_us, prefill_us, decode_us;   /* once done                   */
    _Atomic bool held;            /* the engine may still call wake            */
    _Atomic uint32_t parked;      /* 1: the ring was full, it stands still     */

    /* submitter to engine */
    _Atomic bool cancel;
};

struct engine_conf {
    uint32_t max_seq;             /* sequences decoding at once                */
    uint32_t row_budget;          /* rows in a step                            */
    uint32_t prefill_chunk;       /* rows of one prompt in a step, at most     */
    uint32_t max_queue;           /* requests that may wait beyond those       */
    bool prefix_cache;            /* keep pages of what was served             */
    uint64_t prefix_cache_size;   /* bytes that pages which nobody uses may    */
                                  /*   take; 0: all that are not needed        */
    uint32_t n_draft;             /* see struct request; 0: off                */
};

struct engine_stats {
    uint64_t n_step, n_new_tok;
    uint64_t n_prompt_tok;        /* read; again when a lost device had them   */
    uint64_t n_done, n_error;     /* requests that ended; of those, in error   */
    uint64_t n_finish[FINISH_N];  /* by reason                                 */
    uint64_t n_draft_all, n_draft_ok;   /* tokens guessed; of those, right     */
    uint64_t n_recover;           /* times that a device was lost, and others  */
                                  /* took over                                 */
    uint64_t n_cross, cross_size; /* copies between places of memory, bytes    */
    uint64_t n_cross_wait;        /* times that a step stood still for one     */
    uint64_t n_row;               /* of all steps                              */
    uint64_t n_preempt;           /* sequences whose pages others needed       */
    uint64_t n_prefix_query;      /* tokens looked up in the prefix cache,     */
    uint64_t n_prefix_hit;        /*   found there,                            */
    uint64_t n_prefix_evict;      /*   pages that left it                      */
    uint32_t n_running, n_waiting, n_parked;    /* requests: in steps; for a   */
                                  /*   place; for their readers                */
    uint32_t batch_seq, batch_row;              /* of the last step            */
    uint32_t kv_page_used;        /* pages that sequences hold,                */
    uint32_t kv_page_cached;      /*   that only the prefix cache holds,       */
    uint32_t kv_page_free, kv_page_all;         /*   nobody; all of them       */
    struct head_count head;
};

/* Since engine_open; times in microseconds. */
struct engine_hists {
    struct hist queue;            /* submitted to admitted, first time         */
    struct hist first_token;      /* submitted to the first token              */
    struct hist inter_token;      /* from one token of a sequence to its next  */
    struct hist whole;            /* submitted to ended, however               */
    struct hist step;             /* handed to the devices to outputs there    */
    struct hist step_row;         /* token rows of a step                      */
    struct hist step_seq;         /* sequences in a step                       */
};

struct engine;

int request_open(struct request *, uint32_t max_new);   /* zeroes it, opens the ring */
/* Never while the engine has it: before engine_submit, after its failure, or
 * after done. Returns only when the last wake has returned, so what wake_ctx
 * points to may go then; call it without a lock that wake takes. */
void request_close(struct request *);

/* Takes no ownership of forward. */
int engine_open(struct engine **out, struct forward *, const struct engine_conf *, struct err *);
/* Stops taking requests, finishes those it has within drain_ms (then cancels
 * them), joins the thread. */
void engine_close(struct engine *, uint32_t drain_ms);

/* [any] ERR_ARG: the request can never run (prompt too long, bad id or
 * parameter). ERR_LIMIT: the queue is full, or the engine is closing.
 * ERR_DEVICE: see engine_fault. */
int engine_submit(struct engine *, struct request *, struct err *);
/* [any] The request ends, as FINISH_CANCELLED, at the next step boundary (or
 * as it would have, if it just has). Legal from submit to request_close. */
void engine_cancel(struct engine *, struct request *);
/* [reader] After tokens were popped from the ring: a parked request goes on. A
 * reply does that by itself. Legal from submit to request_close. */
void engine_taken(struct engine *, struct request *);
void engine_stats(struct engine *, struct engine_stats *);   /* [any] */
/* [any] The model, the plugins, what the configuration came to; the rest is the
 * engine thread's. */
const struct forward *engine_forward(const struct engine *);
const struct engine_hists *engine_hists(const struct engine *);   /* [any] */
/* [any] Microseconds since the engine thread last moved on; 0 while it has
 * nothing to do. where: what it does (forward_where), of what. */
uint64_t engine_stalled_us(const struct engine *, char where[256]);
uint32_t engine_n_ctx(const struct engine *);   /* [any] tokens of a sequence, at most */
/* [any] Nonzero once a device was lost that no other can replace, or strict mode
 * was violated: the daemon drains and exits with an error. */
int engine_fault(struct engine *, struct err *);

#endif
