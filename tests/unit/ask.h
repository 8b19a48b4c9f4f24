/* ask.h - an engine on the real model, and requests to it, for tests.
 *
 * ask.c puts functions of its own in front of forward_submit and forward_finish
 * (the linker's --wrap), so a test can make a step fail, hold it, or bend its
 * logits; unless told to, they only pass on. Every function ends the test when something fails. */
#ifndef BITNET_TESTS_ASK_H
#define BITNET_TESTS_ASK_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/engine/engine.h"
#include "tests/golden/rig.h"

enum { N_REQ = 6, N_CTX = 96, MAX_NEW = 14 };

extern _Atomic int bend_poison_id;    /* a step with this token fails; 0: none */
extern _Atomic int bend_poison_code;  /* so                                    */
extern _Atomic int bend_favourite;    /* this token's logit is the largest; -1 */
extern _Atomic bool bend_nan;         /* a NaN among the logits                */
extern _Atomic bool bend_hold;        /* steps wait until it is false          */
extern _Atomic bool bend_held;        /* one does                              */
extern _Atomic bool bend_slow;        /* so do steps that are under way        */
extern _Atomic bool bend_slowed;      /* one does                              */
extern _Atomic unsigned bend_n_run;   /* calls of forward_submit               */

/* After bend_lose_in more steps (1: the next; 0: never) whoever computes
 * bend_lose_family is lost, and so in the bend_lose_times - 1 steps that follow:
 * before anything was submitted, or at the very end of the step. */
extern _Atomic int bend_lose_in, bend_lose_family, bend_lose_times;
extern _Atomic bool bend_lose_late;

extern struct rig rig;
extern uint32_t house_page_tok;        /* of houses opened from now on; 0: the rig's */
extern struct engine *engine;

void nap(void);                       /* a moment                              */
void house_open(uint32_t n_ctx, uint32_t kv_tok);       /* on scalar-ref */
void house_open_fast(uint32_t n_ctx, uint32_t kv_tok);  /* the same bits, sooner */
/* False: no device of this plugin serves here, nothing was opened. */
bool house_open_with(const char *plugin, uint32_t n_ctx, uint32_t kv_tok);
void house_close(void);
/* Without a prefix cache, and with what else is asked for. */
void engine_start(uint32_t max_seq, uint32_t rows, uint32_t chunk, uint32_t queue);
void engine_start_conf(const struct engine_conf *);
void engine_stop(void);               /* checks that every page came back      */

/* About a hundred tokens. */
#define ASK_LONG \
    "Once upon a time there was a little girl who lived in a small house near the woods, and she " \
    "had a red hat. One day her mother said: take this bread to the old bear, for he is ill. So " \
    "the girl went into the woods, and there she met a fox, who was sly and had sharp teeth."

struct ask {
    struct request r;
    struct tokens prompt;
    int32_t got[MAX_NEW + N_CTX];
    uint32_t n_got;
    sem_t news;
    _Atomic unsigned n_wake;
};

void ask_open(struct ask *, const char *text, uint32_t max_new);   /* greedy, ignores EOG */
void ask_close(struct ask *);
void ask_submit(struct ask *);
bool ask_drain(struct ask *);         /* takes what there is; true: done       */
enum finish ask_wait(struct ask *);
void ask_wait_tokens(struct ask *, uint32_t n);

/* Six that differ in length, sampling and luck. */
void ask_kind(struct ask *, int i);

/* Each of the six served by itself, and comparison with that. */
void alone_run(void);
void alone_check(const struct ask *, int i);
void alone_close(void);

#endif
