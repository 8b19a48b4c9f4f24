/* bitnet_answer.h - one answer of the engine, for `run` and `chat`: how it is
 * sampled, and its text as it comes. */
#ifndef BITNET_TOOLS_BITNET_ANSWER_H
#define BITNET_TOOLS_BITNET_ANSWER_H

#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/engine/engine.h"
#include "core/engine/reply.h"
#include "tools/bitnet.h"

enum { ANSWER_ROWS = 256 };       /* rows in a step of prefill                 */

struct sampling {
    struct sample_params sample;
    uint32_t n_new;               /* tokens, at most; the verb's default       */
    uint32_t n_draft;
    struct opt_texts stop;
};

/* A table over `sampling`: one verb runs in a process. */
extern struct sampling sampling;
extern const struct opt sampling_options[];
int sampling_check(struct err *);

struct answer {
    struct request r;             /* may be set between open and follow        */
    struct reply y;
    sem_t news;                   /* posted for whatever follow should look at */
};

/* An engine of one sequence. */
int answer_engine(struct engine **out, struct loaded *, bool prefix_cache, struct err *);
/* more: [n] texts that end it, besides those of the options; borrowed, as the
 * tokens are. After a failure there is nothing to close. */
int answer_open(struct answer *, struct engine *, const struct vocab *, const struct tokens *,
                const struct str *more, unsigned n, struct err *);
void answer_close(struct answer *);
/* Submits it and takes its text to the end: to standard output, if print, and to
 * the text, unless NULL. stop: NULL, or set by a signal handler, which posts
 * news: then the answer ends early, as FINISH_CANCELLED. */
int answer_follow(struct answer *, bool print, struct buf *text, const _Atomic bool *stop,
                  struct err *);
const char *answer_finish(const struct answer *);     /* "stop" */
/* How long it took, to standard error. */
void answer_timing(const struct answer *);

#endif
