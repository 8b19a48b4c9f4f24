/* grammar_walk.c - the tree of tokens and the grammar, hand in hand.
 *
 * For a mask every node of the tree is visited whose bytes may follow. Most
 * of that does not depend on the returns under the front, and is done once per
 * front with the stack left open: the tokens found are kept as a mask,
 * together with the nodes at which the rule had ended and a return was
 * needed. A later mask is a copy, and goes on from those nodes only. */
#include "core/engine/grammar_walk.h"

#include <stdlib.h>
#include <string.h>

enum { MASK_NONE = 1, MASK_OVER = 2 };    /* as a kept mask's offset: never kept; too much work */

struct kept {
    uint32_t n_resume, unused;
    /* struct resume [n_resume], uint32_t [n_word] */
};

int walk_open(struct walk *w, struct grammar_auto *a, const struct prog *p,
              const struct grammar_vocab *v)
{
    *w = (struct walk){ .a = a, .base = auto_base(a), .p = p, .v = v };
    w->ret = calloc(WALK_MAX_RETURN, sizeof *w->ret);
    w->level = calloc((size_t)v->max_depth + 2, sizeof *w->level);
    w->resume = calloc(WALK_MAX_RESUME, sizeof *w->resume);
    w->bits = calloc((size_t)v->n_word + 1, sizeof *w->bits);
    return w->ret && w->level && w->resume && w->bits ? 0 : ERR_NOMEM;
}

void walk_close(struct walk *w)
{
    free(w->ret);
    free(w->level);
    free(w->resume);
    free(w->bits);
}

/* ---- one place ---- */

static int push(struct walk *w, uint32_t op, uint32_t *stack)
{
    const uint32_t depth = w->ret[*stack].depth + 1;
    if (w->open && depth > WALK_MAX_ROOM)
        return WALK_DEEP;
    if (depth > GRAMMAR_MAX_DEPTH || w->n_ret + 1 == WALK_MAX_RETURN)
        return WALK_DEAD;
    w->ret[++w->n_ret] = (struct ret){ op, *stack, depth };
    *stack = w->n_ret;
    return 0;
}

uint32_t walk_begin(struct walk *w, const uint32_t *op, uint32_t n)
{
    w->open = false;
    w->n_ret = 0;
    w->work = 0;
    w->ret[0] = (struct ret){ 0, 0, 0 };
    uint32_t stack = 0;
    for (uint32_t i = 0; i < n; i++)
        push(w, op[i], &stack);
    return stack;
}

/* Puts the step's returns on the stack, and while the rule may have ended and
 * there is a return, joins what comes after it. */
int walk_land(struct walk *w, struct step s, struct at *at)
{
    uint64_t *const base = w->base;
    uint32_t stack = at->stack;
    for (;;) {
        if (s.to == AUTO_DEAD)
            return WALK_DEAD;
        if (s.push) {
            const struct push *const p = (const void *)(base + s.push);
            for (uint32_t i = 0; i < p->n; i++) {
                const int rc = push(w, p->ret[i], &stack);
                if (rc)
                    return rc;
            }
        }
        if (!front_at(base, s.to)->pop || (stack == 0 && !w->open))
            break;
        if (stack == 0) {
            *at = (struct at){ s.to, 0 };
            return WALK_CONTEXT;
        }
        const uint32_t op = w->ret[stack].op;
        stack = w->ret[stack].under;
        const int rc = auto_join(w->a, s.to, op, &s);
        if (rc)
            return rc;
    }
    *at = (struct at){ s.to, stack };
    return 0;
}

/* A step from a front, found now if nobody has. */
static inline int step_of(struct walk *w, uint32_t front, uint8_t byte, struct step *s)
{
    const uint32_t class = w->p->class_of[byte];
    *s = front_at(w->base, front)->step[class];
    return s->to ? 0 : auto_build(w->a, front, class, s);
}

int walk_bytes(struct walk *w, struct str text, struct at *at)
{
    struct at here = *at;
    for (size_t i = 0; i < text.n; i++) {
        struct step s;
        int rc = step_of(w, here.front, (uint8_t)text.p[i], &s);
        if (!rc)
            rc = walk_land(w, s, &here);
        if (rc)
            return rc;
    }
    *at = here;
    return 0;
}

/* ---- the tree ---- */

/* Most nodes have no token or one, and which is anybody's guess: that case has
 * no branch. tok[] has an entry more than there are tokens. */
static inline void add_tokens(const struct walk *w, uint32_t node, uint32_t *mask)
{
    const struct trie_node *const n = &w->v->node[node];
    const uint32_t count = n[1].tok - n[0].tok;
    const uint32_t first = (uint32_t)w->v->tok[n->tok];
    mask[first / 32] |= (uint32_t)(count > 0) << (first % 32);
    for (uint32_t t = 1; t < count; t++) {
        const uint32_t id = (uint32_t)w->v->tok[n->tok + t];
        mask[id / 32] |= (uint32_t)1 << (id % 32);
    }
}

static inline void set_level(const struct walk *w, struct level *l, struct at at)
{
    const struct front *const f = front_at(w->base, at.front);
    *l = (struct level){ f->step, at, w->n_ret, f->n_place + 1u };
}

/* A step that changes the stack, at a node of the tree. With the stack open a
 * node that needs a return is noted, and left: WALK_DEAD. */
static int land_at(struct walk *w, uint32_t node, struct step s, struct at *at)
{
    const int rc = walk_land(w, s, at);
    if (rc != WALK_CONTEXT)
        return rc;
    if (w->n_resume == WALK_MAX_RESUME)
        return WALK_DEEP;
    w->resume[w->n_resume++] = (struct resume){ node, at->front };
    return WALK_DEAD;
}

/* The tokens of nodes from..to-1, which hang under one parent, where the text
 * stands at `at`. */
static int walk_tree(struct walk *w, uint32_t from, uint32_t to, struct at at, uint32_t *mask)
{
    if (from == to)
        return 0;
    const struct trie_node *const node = w->v->node;
    const uint8_t *const class_of = w->p->class_of;
    uint64_t *const base = w->base;
    const uint32_t top = node[from].depth;
    set_level(w, w->level, at);
    for (uint32_t i = from; i < to;) {
        const struct trie_node *const n = &node[i];
        struct level *const l = &w->level[n->depth - top];
        struct step s = l->step[class_of[n->byte]];
        w->work += l->cost;
        int rc = s.to ? 0 : auto_build(w->a, l->at.front, class_of[n->byte], &s);
        if (rc)
            return rc;
        if (w->work > WALK_MAX_WORK)
            return WALK_OVER;
        if (s.to == AUTO_DEAD) {
            i = n->skip;
            continue;
        }
        struct at next = { s.to, l->at.stack };
        w->n_ret = l->n_ret;
        if (s.push || front_at(base, s.to)->pop) {
            rc = land_at(w, i, s, &next);
            if (rc == WALK_DEAD) {
                i = n->skip;
                continue;
            }
            if (rc)
                return rc;
        }
        add_tokens(w, i, mask);
        set_level(w, l + 1, next);
        i++;
    }
    return 0;
}

/* ---- masks that are kept ---- */

static struct resume *kept_resume(struct kept *k)
{
    return (struct resume *)(void *)(k + 1);
}

/* Works a front's mask out with the stack open, and keeps it. What cannot be
 * kept is marked, so that nobody tries again. */
static int keep(struct walk *w, uint32_t front)
{
    struct front *const f = front_at(w->base, front);
    const uint32_t n_word = w->v->n_word;
    const uint32_t n_ret = w->n_ret;
    w->open = true;
    w->n_resume = 0;
    memset(w->bits, 0, n_word * sizeof *w->bits);
    int rc = walk_tree(w, 0, w->v->n_node, (struct at){ front, 0 }, w->bits);
    w->open = false;
    w->n_ret = n_ret;
    w->work = 0;
    if (rc == WALK_DEEP || rc == WALK_OVER) {
        f->mask = rc == WALK_OVER ? MASK_OVER : MASK_NONE;
        return 0;
    }
    if (rc)
        return rc;
    const size_t n_bytes = w->n_resume * sizeof *w->resume;
    const uint32_t at = auto_alloc(w->a, sizeof(struct kept) + n_bytes + n_word * sizeof *w->bits);
    if (!at)
        return AUTO_FULL;
    struct kept *const k = (void *)(w->base + at);
    *k = (struct kept){ w->n_resume, 0 };
    memcpy(kept_resume(k), w->resume, n_bytes);
    memcpy(kept_resume(k) + w->n_resume, w->bits, n_word * sizeof *w->bits);
    f->mask = at;
    return 0;
}

/* Goes on from where returns were needed. Neighbours mostly came to the same
 * front, and then land at the same place. */
static int resume(struct walk *w, struct kept *k, uint32_t stack, uint32_t *mask)
{
    const struct resume *const r = kept_resume(k);
    const uint32_t n_ret = w->n_ret;
    uint32_t landed = 0, n_landed = n_ret;
    struct at at = { 0, 0 };
    int dead = 0;
    for (uint32_t i = 0; i < k->n_resume; i++) {
        if (r[i].front != landed) {
            w->n_ret = n_ret;
            at = (struct at){ r[i].front, stack };
            dead = walk_land(w, (struct step){ r[i].front, 0 }, &at);
            if (dead && dead != WALK_DEAD)
                return dead;
            landed = r[i].front;
            n_landed = w->n_ret;
        }
        if (dead)
            continue;
        add_tokens(w, r[i].node, mask);
        w->n_ret = n_landed;
        const int rc = walk_tree(w, r[i].node + 1, w->v->node[r[i].node].skip, at, mask);
        if (rc)
            return rc;
    }
    return 0;
}

int walk_mask(struct walk *w, struct at at, uint32_t *mask)
{
    struct front *const f = front_at(w->base, at.front);
    const int rc = f->mask ? 0 : keep(w, at.front);
    if (rc)
        return rc;
    if (f->mask == MASK_OVER)
        return WALK_OVER;
    if (f->mask == MASK_NONE || w->ret[at.stack].depth + WALK_MAX_ROOM > GRAMMAR_MAX_DEPTH)
        return walk_tree(w, 0, w->v->n_node, at, mask);
    struct kept *const k = (void *)(w->base + f->mask);
    const uint32_t *const bits = (const void *)(kept_resume(k) + k->n_resume);
    for (uint32_t i = 0; i < w->v->n_word; i++)
        mask[i] |= bits[i];
    return resume(w, k, at.stack, mask);
}

int walk_mask_lead(struct walk *w, struct at at, uint32_t *mask)
{
    const struct trie_node *const node = w->v->node;
    const uint32_t end = w->v->n_node;
    uint32_t space = 0;
    while (space < end && node[space].byte != ' ')
        space = node[space].skip;
    int rc = walk_tree(w, 0, space, at, mask);
    if (rc || space == end)
        return rc;
    add_tokens(w, space, mask);
    rc = walk_tree(w, space + 1, node[space].skip, at, mask);
    return rc ? rc : walk_tree(w, node[space].skip, end, at, mask);
}
