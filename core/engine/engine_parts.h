/* engine_parts.h - what the engine's public functions and its thread share.
 *
 * Fields under `lock` are everybody's, atomics too; the rest is the engine
 * thread's while it runs. */
#ifndef BITNET_ENGINE_ENGINE_PARTS_H
#define BITNET_ENGINE_ENGINE_PARTS_H

#include <pthread.h>

#include "core/engine/engine.h"
#include "core/engine/sched.h"

struct engine {
    struct forward *forward;
    struct engine_conf conf;
    uint32_t n_ctx;               /* tokens of a sequence, at most             */
    uint32_t n_vocab;             /* ids [0, n_vocab) are fed and drawn        */
    pthread_t thread;

    struct mpsc inbox;
    pthread_mutex_t lock;
    bool closing;                 /* under lock: nothing is pushed any more    */
    struct err fault;             /* under lock; code 0: none                  */
    _Atomic uint64_t drain_until_us;   /* monotonic; 0: not closing            */

    struct sched sched;
    struct prefix prefix;
    struct batch batch;
    struct sampler *sampler;
    bool lost;                    /* no step may run any more                  */
    uint32_t n_disabled;          /* devices, when it was last looked at       */

    _Atomic uint32_t n_inflight;  /* submitted, not yet done                   */
    _Atomic uint32_t n_running, n_parked, kv_page_free, kv_page_idle;
    _Atomic uint64_t n_step, n_row, n_prompt_tok, n_new_tok, n_done, n_error;
    _Atomic uint64_t n_preempt, n_query, n_hit, n_evict;   /* the scheduler's  */
    _Atomic uint64_t n_recover, n_draft_all, n_draft_ok;
    _Atomic uint64_t n_cross, cross_size, n_cross_wait;   /* forward's cross    */
    _Atomic uint64_t n_full, n_top, n_exact;       /* forward's head_count      */
    _Atomic uint64_t n_finish[FINISH_N];
    struct engine_hists hists;
    uint64_t step_us;             /* when the step under way was submitted     */
    _Atomic uint64_t beat_us;     /* last turn of the loop; 0: idle, or others */
                                  /* take over from a lost device              */
    _Atomic uint32_t step_row, step_seq;           /* of the step under way, or last */
};

void *engine_thread(void *engine);
/* The end of a request; the sequence is gone. */
void engine_end(struct engine *, struct seq *, enum finish why);
void engine_fail(struct engine *, struct seq *, const struct err *);

/* engine_draw.c. Guesses what the running sequences might draw. */
void engine_guess(struct engine *);
/* s's outputs in the batch get the number of logits that they need. */
void engine_want(struct engine *, struct seq *);
/* The step has computed s's rows: tokens go to the reader; the request may end. */
void engine_advance(struct engine *, struct seq *);

/* engine_choose.c. How many of the largest logits the id at position n needs,
 * rows that are no tokens included; 0: all. */
uint32_t engine_needs(struct engine *, struct seq *, uint32_t n);
enum { CHOOSE_NONE = -1, CHOOSE_MORE = -2, CHOOSE_STUCK = -3 };
/* The id that follows s's last. NONE: no numbers; MORE: all logits are needed;
 * STUCK: the grammar cannot go on. */
int32_t engine_choose(struct engine *, struct seq *, struct forward_out);

/* engine_output.c. ERR_ARG: it wants what no request gets. [any] */
int engine_check_output(const struct request *, struct err *);
/* Memory for what it wants; r->seq is open. [submitter] */
int engine_open_output(const struct engine *, struct request *, struct err *);
void engine_close_output(struct request *);
/* What the step's rows say of the prompt: probabilities, hidden states. 0, or
 * ERR_NUMERIC. */
int engine_take_rows(struct engine *, struct seq *, struct err *);

/* engine_recover.c. A device is gone for good, or strict mode was violated:
 * nobody can be served any more. */
void engine_lose(struct engine *, const struct err *);
/* After ERR_DEVICE of a step: others take over, or all is lost. The rows of the
 * step were not computed; where its keys and values are gone, none were. */
void engine_recover(struct engine *, const struct err *);
uint32_t engine_disabled(const struct engine *);    /* devices that are          */

#endif
