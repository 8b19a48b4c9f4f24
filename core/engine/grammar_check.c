/* grammar_check.c - what must hold before a grammar can be used.
 *
 * "Can be empty" and "has a text" are the same least fixed point with other
 * leaves: a part becomes true once enough of its parts are. Each node waits for
 * a count and tells its parent once, so the time is linear in the text. */
#include <stdio.h>

#include "core/engine/grammar.h"
#include "core/engine/grammar_tree.h"

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "grammar: no memory to check it; send a smaller one");
}

/* Names are as long as somebody made them. */
static int name_n(struct str s)
{
    return (int)(s.n < 60 ? s.n : 60);
}

static int check_defined(const struct tree *t, struct err *e)
{
    for (uint32_t i = 0; i < t->n_rule; i++) {
        const struct rule *const r = &t->rule[i];
        if (!r->body && i == 0 && !r->ref)
            return grammar_fail(t, (uint32_t)t->n, ERR_ARG, e, "no rule is named root, where "
                                "every text starts");
        if (!r->body)
            return grammar_fail(t, r->at, ERR_ARG, e, "rule \"%.*s\" is not defined",
                                name_n(r->name), r->name.p);
    }
    return 0;
}

/* ---- the two fixed points ---- */

struct derive {
    struct tree *t;
    struct node **todo;          /* [n_node] true, and nobody was told */
    size_t n_todo;
    bool empty;                  /* which of the two                   */
};

static void settle(struct derive *d, struct node *n)
{
    bool *const flag = d->empty ? &n->can_empty : &n->can_end;
    if (*flag)
        return;
    *flag = true;
    d->todo[d->n_todo++] = n;
}

/* Parts must be true before a sequence is; one is enough elsewhere. */
static void prepare(struct derive *d, struct node *n)
{
    n->need = 1;
    switch (n->kind) {
    case NODE_TEXT:
        if (!d->empty || n->text.n == 0)
            settle(d, n);
        break;
    case NODE_CLASS:
        if (!d->empty)
            settle(d, n);
        break;
    case NODE_REPEAT:
        if (n->min == 0)
            settle(d, n);
        break;
    case NODE_SEQ:
        n->need = 0;
        for (const struct node *c = n->first; c; c = c->next)
            n->need++;
        if (n->need == 0)
            settle(d, n);
        break;
    case NODE_REF:
    case NODE_ALT:
        break;
    }
    for (struct node *c = n->first; c; c = c->next)
        prepare(d, c);
}

static void tell(struct derive *d, struct node *n)
{
    if (n->need > 0 && --n->need == 0)
        settle(d, n);
}

static int derive(struct tree *t, bool empty, struct err *e)
{
    struct derive d = { .t = t, .empty = empty };
    d.todo = arena_alloc(&t->arena, t->n_node, sizeof *d.todo);
    if (!d.todo)
        return no_memory(e);
    for (uint32_t i = 0; i < t->n_rule; i++)
        prepare(&d, t->rule[i].body);
    for (size_t i = 0; i < d.n_todo; i++) {
        struct node *const n = d.todo[i];
        if (n->parent) {
            tell(&d, n->parent);
            continue;
        }
        for (struct node *m = t->rule[n->rule].ref; m; m = m->same)
            tell(&d, m);
    }
    return 0;
}

static int check_ends(const struct tree *t, struct err *e)
{
    for (uint32_t i = 0; i < t->n_rule; i++)
        if (!t->rule[i].body->can_end)
            return grammar_fail(t, t->rule[i].at, ERR_ARG, e, "rule \"%.*s\" never comes to an "
                                "end; give it an alternative without itself",
                                name_n(t->rule[i].name), t->rule[i].name.p);
    return 0;
}

/* ---- left recursion ---- */

struct left {
    struct tree *t;
    uint32_t *start;             /* [n_rule + 1] edges of rule i in edge[]       */
    uint32_t *edge;              /* [n_ref] rules that may begin where i begins  */
    uint32_t n_edge;
};

static void left_of(struct left *l, const struct node *n)
{
    if (n->kind == NODE_REF)
        l->edge[l->n_edge++] = n->rule;
    for (const struct node *c = n->first; c; c = c->next) {
        left_of(l, c);
        if (n->kind == NODE_SEQ && !c->can_empty)
            break;
    }
}

/* Depth first with a stack of its own: path[] are the rules being visited,
 * next[] the edge to follow, state 1 is on the path, 2 is finished. */
static int find_cycle(struct left *l, uint8_t *state, uint32_t *path, uint32_t *next,
                      uint32_t from, struct err *e)
{
    uint32_t depth = 0;
    path[0] = from;
    state[from] = 1;
    next[from] = l->start[from];
    for (;;) {
        const uint32_t r = path[depth];
        if (next[r] == l->start[r + 1]) {
            state[r] = 2;
            if (depth-- == 0)
                return 0;
            continue;
        }
        const uint32_t to = l->edge[next[r]++];
        if (state[to] == 1) {
            const struct rule *const a = &l->t->rule[to], *const b = &l->t->rule[r];
            return grammar_fail(l->t, a->at, ERR_ARG, e, "rule \"%.*s\" begins with itself (by way "
                                "of \"%.*s\"): left recursion; write it as a repetition",
                                name_n(a->name), a->name.p, name_n(b->name), b->name.p);
        }
        if (state[to] == 0) {
            state[to] = 1;
            next[to] = l->start[to];
            path[++depth] = to;
        }
    }
}

static int check_left(struct tree *t, struct err *e)
{
    struct left l = { .t = t };
    l.start = arena_alloc(&t->arena, t->n_rule + 1, sizeof *l.start);
    l.edge = arena_alloc(&t->arena, t->n_ref + 1, sizeof *l.edge);
    uint8_t *const state = arena_alloc(&t->arena, t->n_rule, 1);
    uint32_t *const path = arena_alloc(&t->arena, t->n_rule, sizeof *path);
    uint32_t *const next = arena_alloc(&t->arena, t->n_rule, sizeof *next);
    if (!l.start || !l.edge || !state || !path || !next)
        return no_memory(e);
    for (uint32_t i = 0; i < t->n_rule; i++) {
        left_of(&l, t->rule[i].body);
        l.start[i + 1] = l.n_edge;
    }
    for (uint32_t i = 0; i < t->n_rule; i++) {
        const int rc = state[i] ? 0 : find_cycle(&l, state, path, next, i, e);
        if (rc)
            return rc;
    }
    return 0;
}

/* ---- use ---- */

static void reach(struct tree *t, const struct node *n, uint32_t *todo, uint32_t *n_todo)
{
    if (n->kind == NODE_REF && !t->rule[n->rule].used) {
        t->rule[n->rule].used = true;
        todo[(*n_todo)++] = n->rule;
    }
    for (const struct node *c = n->first; c; c = c->next)
        reach(t, c, todo, n_todo);
}

static int mark_used(struct tree *t, char note[160], struct err *e)
{
    uint32_t *const todo = arena_alloc(&t->arena, t->n_rule, sizeof *todo);
    if (!todo)
        return no_memory(e);
    uint32_t n_todo = 1;
    t->rule[0].used = true;
    for (uint32_t i = 0; i < n_todo; i++)
        reach(t, t->rule[todo[i]].body, todo, &n_todo);
    note[0] = 0;
    for (uint32_t i = 0; i < t->n_rule; i++) {
        if (t->rule[i].used)
            continue;
        struct err where = { 0 };
        grammar_fail(t, t->rule[i].at, ERR_ARG, &where, "rule \"%.*s\" is never used",
                     name_n(t->rule[i].name), t->rule[i].name.p);
        snprintf(note, 160, "%.159s", where.text);
        break;
    }
    return 0;
}

int grammar_check(struct tree *t, char note[160], struct err *e)
{
    int rc = check_defined(t, e);
    if (!rc)
        rc = derive(t, true, e);
    if (!rc)
        rc = derive(t, false, e);
    if (!rc)
        rc = check_ends(t, e);
    if (!rc)
        rc = check_left(t, e);
    return rc ? rc : mark_used(t, note, e);
}
