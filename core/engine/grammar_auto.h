/* grammar_auto.h - a grammar's machine made deterministic, as far as anybody
 * has walked it.
 *
 * A front is the set of places where a text may stand at once: an op, and the
 * rules to return to, as far as the places differ in them. The returns that all
 * places share are not in the front; whoever walks keeps them, as a plain
 * stack. So the inside of a string is one front, however deep the string
 * stands, and what was learned about it once is known everywhere.
 *
 *     auto_step    one byte: another front, and returns to put on the stack
 *     auto_join    a front from which the rule may have ended (pop), and the
 *                  return on top of the stack: the front of both
 *
 * Fronts, steps and masks lie in one piece of memory and name each other by
 * offsets. When it is full a call says AUTO_FULL; auto_flush forgets all and
 * the caller starts again from its own copy of a front. A walk that does not
 * fit into the empty memory is over the limit; this depends on the walk alone.
 * Under the grammar's lock. */
#ifndef BITNET_ENGINE_GRAMMAR_AUTO_H
#define BITNET_ENGINE_GRAMMAR_AUTO_H

#include "core/engine/grammar.h"
#include "core/engine/grammar_prog.h"

enum {
    AUTO_MEMORY = 16 << 20,      /* bytes; touched as needed                     */
    AUTO_MAX_PLACE = 2048,       /* of a front; a byte that led to more is not
                                    allowed                                      */
    AUTO_MAX_FRAME = 2048,       /* returns in which places of a front differ    */
    AUTO_MAX_PUSH = 8,           /* returns that a step moves out of the front   */
    AUTO_FULL = 1,               /* a status, beside 0                           */
    AUTO_DEAD = 1                /* as a front: the byte is not allowed          */
};

struct place {
    uint32_t op, stack;          /* stack: 0, or a frame's number, from 1        */
};

struct frame {
    uint32_t ret, under;         /* op to return to; frame under it, 0: none     */
};

struct step {
    uint32_t to;                 /* offset of a front, AUTO_DEAD; 0: not known   */
    uint32_t push;               /* offset of a struct push; 0: nothing          */
};

struct push {
    uint32_t n, ret[AUTO_MAX_PUSH];   /* the last one ends on top */
};

struct front {
    uint32_t hash, chain;
    uint32_t mask;               /* offset, kept by grammar_mask.c; 0: not known */
    uint16_t n_place, n_frame;
    bool pop;                    /* the rule may have ended                      */
    struct step step[];          /* [n_class], place[n_place], frame[n_frame]    */
};

struct grammar_auto;

int auto_open(struct grammar_auto **out, const struct prog *);
void auto_close(struct grammar_auto *);
void auto_flush(struct grammar_auto *);
uint32_t auto_generation(const struct grammar_auto *);    /* counts flushes */

/* n bytes, aligned to 8; 0: full. */
uint32_t auto_alloc(struct grammar_auto *, size_t n);

/* All return 0 or AUTO_FULL. */
int auto_start(struct grammar_auto *, struct step *out);
int auto_build(struct grammar_auto *, uint32_t front, uint32_t class, struct step *out);
int auto_join(struct grammar_auto *, uint32_t front, uint32_t ret, struct step *out);
/* A front from a copy of its parts. */
int auto_enter(struct grammar_auto *, const struct place *, uint32_t n_place,
               const struct frame *, uint32_t n_frame, bool pop, uint32_t *out);

/* The memory that offsets count in, fixed for the automaton's life. */
uint64_t *auto_base(const struct grammar_auto *);

static inline struct front *front_at(uint64_t *base, uint32_t offset)
{
    return (struct front *)(void *)(base + offset);
}

static inline const struct place *front_place(const struct front *f, uint32_t n_class)
{
    return (const struct place *)(const void *)(f->step + n_class);
}

static inline const struct frame *front_frame(const struct front *f, uint32_t n_class)
{
    return (const struct frame *)(const void *)(front_place(f, n_class) + f->n_place);
}

#endif
