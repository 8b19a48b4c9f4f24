/* grammar_walk.h - bytes and whole vocabularies through a grammar.
 *
 * A walker holds the fronts of grammar_auto.h together with the stack of
 * returns below them. It belongs to a grammar and is used under its lock. */
#ifndef BITNET_ENGINE_GRAMMAR_WALK_H
#define BITNET_ENGINE_GRAMMAR_WALK_H

#include "core/engine/grammar_auto.h"
#include "core/engine/grammar_trie.h"

enum {
    WALK_MAX_RETURN = 1 << 14,      /* on a stack and its forks, on one way down the tree */
    WALK_MAX_WORK = 1 << 27,        /* places looked at for one mask                      */
    WALK_MAX_ROOM = 64,             /* returns a token may add in a mask that is kept     */
    WALK_MAX_RESUME = 1 << 15       /* of one kept mask                                   */
};

enum walk_status {                  /* beside 0 and AUTO_FULL                             */
    WALK_DEAD = 2,                  /* the byte is not allowed                            */
    WALK_CONTEXT,                   /* the stack is open, and a return is needed          */
    WALK_DEEP,                      /* the stack is open, and the token adds too much     */
    WALK_OVER                       /* too much work                                      */
};

struct at {                         /* where a text stands                                */
    uint32_t front;
    uint32_t stack;                 /* a return's number; 0: none                         */
};

struct ret {
    uint32_t op, under;
    uint32_t depth;
};

struct resume {
    uint32_t node, front;
};

struct level {
    const struct step *step;        /* of its front                                       */
    struct at at;
    uint32_t n_ret;                 /* returns in use there                               */
    uint32_t cost;                  /* of a step from there                               */
};

struct walk {
    struct grammar_auto *a;
    uint64_t *base;                 /* auto_base                                          */
    const struct prog *p;
    const struct grammar_vocab *v;
    bool open;                      /* returns below the bottom are not known             */
    uint32_t n_ret;
    uint32_t work;
    uint32_t n_resume;
    struct ret *ret;                /* [WALK_MAX_RETURN] from 1                           */
    struct level *level;            /* [max_depth + 2]                                    */
    struct resume *resume;          /* [WALK_MAX_RESUME]                                  */
    uint32_t *bits;                 /* [n_word] a mask in the making                      */
};

int walk_open(struct walk *, struct grammar_auto *, const struct prog *,
              const struct grammar_vocab *);
void walk_close(struct walk *);

/* Starts with these returns, the last one on top; gives the top. */
uint32_t walk_begin(struct walk *, const uint32_t *op, uint32_t n);
int walk_land(struct walk *, struct step, struct at *);   /* goes where a step leads */
int walk_bytes(struct walk *, struct str, struct at *);   /* at is unchanged unless 0 */

/* Adds the tokens that may follow at `at` to mask [n_word]. Uses what is kept
 * for the front, or works it out and keeps it. */
int walk_mask(struct walk *, struct at, uint32_t *mask);
/* The same for a reply whose first space is not shown. Nothing is kept. */
int walk_mask_lead(struct walk *, struct at, uint32_t *mask);

#endif
