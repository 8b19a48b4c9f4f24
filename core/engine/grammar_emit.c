/* grammar_emit.c - trees to ops, from the back to the front.
 *
 * emit(tree, next) writes what reads the tree and goes on at next, and returns
 * where it starts; so nothing is ever patched but the entry of a loop.
 * Repetitions are written out. Code points become the byte sequences of their
 * UTF-8 forms: a range is cut where the forms' bytes stop being a product of
 * byte ranges (as RFC 3629's table does), and equal tails are shared. */
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/engine/grammar.h"
#include "core/engine/grammar_prog.h"

enum {
    MAX_STEP = 4 << 20,          /* trees visited; a repetition of nothing writes no op */
    MAX_SET = 1 << 16,
    LOOK_BACK = 64               /* ops searched for an equal one                       */
};

#define NOWHERE UINT32_MAX       /* as a place: an error was noted                      */

struct seq {                     /* UTF-8 forms of a range: a byte of lo[0]..hi[0], and so on */
    char lo[4], hi[4];
    size_t n;
};

struct emit {
    struct prog *p;
    const struct tree *t;
    struct err *e;
    int rc;
    uint32_t n_step;
    struct seq *seq;             /* of the class being written                          */
    size_t n_seq, cap_seq;
    uint32_t floor, at;          /* its first op, its place in the text                 */
};

static uint32_t fail_size(struct emit *m, uint32_t at)
{
    if (!m->rc)
        m->rc = grammar_fail(m->t, at, ERR_LIMIT, m->e, "the grammar is too large once "
                             "repetitions are written out (over %d steps); repeat less",
                             GRAMMAR_MAX_OP);
    return NOWHERE;
}

static uint32_t fail_memory(struct emit *m)
{
    if (!m->rc)
        m->rc = err_set(m->e, ERR_NOMEM, "grammar: no memory to compile it; send a smaller one");
    return NOWHERE;
}

static uint32_t put(struct emit *m, uint32_t at, struct op op)
{
    struct prog *const p = m->p;
    if (m->rc)
        return NOWHERE;
    if (p->n_op == GRAMMAR_MAX_OP)
        return fail_size(m, at);
    if (p->n_op == p->cap_op) {
        const uint32_t cap = p->cap_op ? p->cap_op * 2 : 256;
        struct op *const o = realloc(p->op, cap * sizeof *o);
        if (!o)
            return fail_memory(m);
        p->op = o;
        p->cap_op = cap;
    }
    p->op[p->n_op] = op;
    return p->n_op++;
}

static uint32_t put_split(struct emit *m, uint32_t at, uint32_t a, uint32_t b)
{
    return put(m, at, (struct op){ .kind = OP_SPLIT, .a = a, .b = b });
}

static uint32_t set_find(struct emit *m, const struct byte_set *s)
{
    struct prog *const p = m->p;
    for (uint32_t i = p->n_set, k = 0; i > 0 && k < 4096; k++)
        if (memcmp(&p->set[--i], s, sizeof *s) == 0)
            return i;
    if (p->n_set == MAX_SET)
        return fail_size(m, 0);
    if (p->n_set == p->cap_set) {
        const uint32_t cap = p->cap_set ? p->cap_set * 2 : 64;
        struct byte_set *const n = realloc(p->set, cap * sizeof *n);
        if (!n)
            return fail_memory(m);
        p->set = n;
        p->cap_set = cap;
    }
    p->set[p->n_set] = *s;
    return p->n_set++;
}

/* ---- classes ---- */

static void set_add(struct byte_set *s, unsigned lo, unsigned hi)
{
    for (unsigned b = lo; b <= hi; b++)
        s->bit[b >> 6] |= (uint64_t)1 << (b & 63);
}

static void add_bytes(struct emit *m, uint32_t lo, uint32_t hi)
{
    if (m->n_seq == m->cap_seq) {
        const size_t cap = m->cap_seq ? m->cap_seq * 2 : 64;
        struct seq *const s = realloc(m->seq, cap * sizeof *s);
        if (!s) {
            fail_memory(m);
            return;
        }
        m->seq = s;
        m->cap_seq = cap;
    }
    struct seq *const s = &m->seq[m->n_seq++];
    s->n = utf8_encode(lo, s->lo);
    utf8_encode(hi, s->hi);
}

/* Cuts lo..hi until its UTF-8 forms are a product. */
static void add_range(struct emit *m, uint32_t at, uint32_t lo, uint32_t hi)
{
    if (m->n_step++ >= MAX_STEP) {
        fail_size(m, at);
        return;
    }
    static const uint32_t last[] = { 0x7f, 0x7ff, 0xffff };
    for (unsigned i = 0; i < 3; i++)
        if (lo <= last[i] && hi > last[i]) {
            add_range(m, at, lo, last[i]);
            add_range(m, at, last[i] + 1, hi);
            return;
        }
    for (unsigned bits = 6; bits <= 18 && hi > 0x7f; bits += 6) {
        const uint32_t mask = ((uint32_t)1 << bits) - 1;
        if ((lo & ~mask) == (hi & ~mask))
            break;
        if (lo & mask) {
            add_range(m, at, lo, lo | mask);
            add_range(m, at, (lo | mask) + 1, hi);
            return;
        }
        if ((hi & mask) != mask) {
            add_range(m, at, lo, (hi & ~mask) - 1);
            add_range(m, at, hi & ~mask, hi);
            return;
        }
    }
    add_bytes(m, lo, hi);
}

/* An equal op of the same class is found again: classes repeat their tails. */
static uint32_t put_shared(struct emit *m, struct op op)
{
    const struct prog *const p = m->p;
    for (uint32_t i = p->n_op, k = 0; i > m->floor && k < LOOK_BACK; k++) {
        const struct op *const o = &p->op[--i];
        if (o->kind == op.kind && o->lo == op.lo && o->hi == op.hi && o->a == op.a && o->b == op.b)
            return i;
    }
    return put(m, m->at, op);
}

static uint32_t put_set(struct emit *m, const struct byte_set *s, uint32_t tail)
{
    unsigned lo = 0, hi = 255, count = 0;
    while (!byte_set_has(s, lo))
        lo++;
    while (!byte_set_has(s, hi))
        hi--;
    for (unsigned b = lo; b <= hi; b++)
        count += (unsigned)byte_set_has(s, b);
    if (count == hi - lo + 1)
        return put_shared(m, (struct op){ .kind = OP_RANGE, .lo = (uint8_t)lo, .hi = (uint8_t)hi,
                                          .a = tail });
    const uint32_t set = set_find(m, s);
    return put_shared(m, (struct op){ .kind = OP_SET, .a = tail, .b = set });
}

/* seq[from..to), which agree on their first `depth` bytes. Sequences of
 * disjoint ranges have equal or disjoint byte ranges here: one of more than a
 * byte has all that can follow under it. So there are at most 256, and those
 * with one tail are a set. */
static uint32_t emit_level(struct emit *m, size_t from, size_t to, size_t depth, uint32_t next)
{
    struct byte_set set[256];
    uint32_t tail[256], n = 0;
    for (size_t i = from, end; i < to && !m->rc; i = end) {
        const struct seq *const s = &m->seq[i];
        for (end = i + 1; end < to && m->seq[end].lo[depth] == s->lo[depth];)
            end++;
        const uint32_t t = depth + 1 == s->n ? next : emit_level(m, i, end, depth + 1, next);
        uint32_t k = 0;
        while (k < n && tail[k] != t)
            k++;
        if (k == n) {
            tail[n] = t;
            set[n++] = (struct byte_set){ { 0 } };
        }
        set_add(&set[k], (uint8_t)s->lo[depth], (uint8_t)s->hi[depth]);
    }
    uint32_t start = NOWHERE;
    for (uint32_t k = n; k-- > 0 && !m->rc;) {
        const uint32_t one = put_set(m, &set[k], tail[k]);
        start = start == NOWHERE
                    ? one
                    : put_shared(m, (struct op){ .kind = OP_SPLIT, .a = one, .b = start });
    }
    return start;
}

static uint32_t emit_class(struct emit *m, const struct node *n, uint32_t next)
{
    m->n_seq = 0;
    m->floor = m->p->n_op;
    m->at = n->at;
    for (uint32_t i = 0; i < n->n_range && !m->rc; i++)
        add_range(m, n->at, n->range[i].lo, n->range[i].hi);
    return m->rc ? NOWHERE : emit_level(m, 0, m->n_seq, 0, next);
}

/* ---- the other trees ---- */

static uint32_t emit(struct emit *m, const struct node *n, uint32_t next);

static uint32_t emit_text(struct emit *m, const struct node *n, uint32_t next)
{
    for (size_t i = n->text.n; i-- > 0;) {
        const uint8_t b = (uint8_t)n->text.p[i];
        next = put(m, n->at, (struct op){ .kind = OP_RANGE, .lo = b, .hi = b, .a = next });
    }
    return next;
}

static uint32_t emit_alt(struct emit *m, const struct node *n, uint32_t next)
{
    uint32_t start = NOWHERE;
    for (const struct node *c = n->last; c && !m->rc; c = c->prev) {
        const uint32_t one = emit(m, c, next);
        start = c == n->last ? one : put_split(m, n->at, one, start);
    }
    return start;
}

/* x{2,4} is x x (x x?)?, x{2,} is x x x*. */
static uint32_t emit_repeat(struct emit *m, const struct node *n, uint32_t next)
{
    uint32_t to = next;
    if (n->max == REPEAT_FOREVER) {
        to = put_split(m, n->at, NOWHERE, next);
        const uint32_t body = emit(m, n->first, to);
        if (m->rc)
            return NOWHERE;
        m->p->op[to].a = body;
    } else {
        for (uint32_t i = n->min; i < n->max && !m->rc; i++)
            to = put_split(m, n->at, emit(m, n->first, to), next);
    }
    for (uint32_t i = 0; i < n->min && !m->rc; i++)
        to = emit(m, n->first, to);
    return to;
}

static uint32_t emit(struct emit *m, const struct node *n, uint32_t next)
{
    if (m->rc)
        return NOWHERE;
    if (m->n_step++ == MAX_STEP)
        return fail_size(m, n->at);
    switch (n->kind) {
    case NODE_TEXT:
        return emit_text(m, n, next);
    case NODE_CLASS:
        return emit_class(m, n, next);
    case NODE_REF:
        return put(m, n->at, (struct op){ .kind = OP_CALL, .a = next, .b = n->rule });
    case NODE_ALT:
        return emit_alt(m, n, next);
    case NODE_REPEAT:
        return emit_repeat(m, n, next);
    case NODE_SEQ:
        for (const struct node *c = n->last; c; c = c->prev)
            next = emit(m, c, next);
        return next;
    }
    return NOWHERE;
}

/* ---- bytes that nothing tells apart ---- */

/* Cuts every class in two: the bytes inside the set, and the others. */
static void refine(struct prog *p, const struct byte_set *s)
{
    uint8_t inside[256];
    bool has_inside[256] = { false }, has_outside[256] = { false };
    for (unsigned b = 0; b < 256; b++)
        *(byte_set_has(s, b) ? &has_inside[p->class_of[b]] : &has_outside[p->class_of[b]]) = true;
    for (uint32_t c = 0, n = p->n_class; c < n; c++)
        inside[c] = (uint8_t)(has_inside[c] && has_outside[c] ? p->n_class++ : c);
    for (unsigned b = 0; b < 256; b++)
        if (byte_set_has(s, b))
            p->class_of[b] = inside[p->class_of[b]];
}

static int classify(struct emit *m)
{
    struct prog *const p = m->p;
    uint8_t *const seen = calloc(256, 256);
    if (!seen) {
        fail_memory(m);
        return m->rc;
    }
    p->n_class = 1;
    for (uint32_t i = 0; i < p->n_set; i++)
        refine(p, &p->set[i]);
    for (uint32_t i = 0; i < p->n_op; i++) {
        const struct op *const o = &p->op[i];
        if (o->kind != OP_RANGE || seen[o->lo * 256 + o->hi])
            continue;
        seen[o->lo * 256 + o->hi] = 1;
        struct byte_set s = { { 0 } };
        set_add(&s, o->lo, o->hi);
        refine(p, &s);
    }
    for (unsigned b = 0; b < 256; b++)
        p->byte_of[p->class_of[b]] = (uint8_t)b;
    free(seen);
    return 0;
}

int grammar_emit(struct prog *p, const struct tree *t, struct err *e)
{
    struct emit m = { .p = p, .t = t, .e = e };
    p->entry = calloc(t->n_rule, sizeof *p->entry);
    if (!p->entry)
        fail_memory(&m);
    put(&m, 0, (struct op){ .kind = OP_END });
    for (uint32_t i = 0; i < t->n_rule && !m.rc; i++)
        if (t->rule[i].used)
            p->entry[i] = emit(&m, t->rule[i].body, 0);
    free(m.seq);
    return m.rc ? m.rc : classify(&m);
}

void grammar_prog_free(struct prog *p)
{
    free(p->op);
    free(p->set);
    free(p->entry);
}
