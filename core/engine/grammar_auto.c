/* grammar_auto.c - fronts: found, put into one form, and kept.
 *
 * A new front is worked out in scratch memory. Following the ops that read
 * nothing gives places; then the returns that all of them stand on are taken
 * out, frames are numbered by their content and places are sorted, so that
 * equal sets are equal bytes, and these are looked up.
 *
 * Bounds. Every (op, stack) is visited once per front; left recursion was
 * refused, so a visit pushes at most one frame per rule on a way without
 * reading. What is over a limit makes the byte dead: that narrows the
 * grammar's texts and never widens them. */
#include "core/engine/grammar_auto.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
    N_BUCKET = 1 << 14,
    MAX_VISIT = 1 << 14,
    N_SEEN = 2 * MAX_VISIT,      /* powers of two */
    N_KNOWN = 2 * AUTO_MAX_FRAME,
    UNIT = 8
};

struct seen {
    uint32_t epoch, op, stack;
};

struct known {
    uint32_t epoch, frame;
};

struct key {
    uint64_t v;
    uint32_t id;
};

struct join {                    /* what auto_join found */
    uint32_t front, ret, chain, unused;
    struct step step;
};

struct grammar_auto {
    const struct prog *p;
    uint64_t *base;
    uint32_t used, cap;                       /* units */
    uint32_t generation;
    uint32_t bucket[N_BUCKET];                /* fronts by hash */
    uint32_t join[N_BUCKET];
    /* scratch, of the front being found */
    uint32_t epoch;
    bool pop, over;
    uint32_t n_place, n_todo, n_visit, n_frame;
    struct place place[AUTO_MAX_PLACE];
    struct place todo[MAX_VISIT];
    struct seen seen[N_SEEN];
    struct known known[N_KNOWN];
    struct frame frame[AUTO_MAX_FRAME + 1];   /* from 1 */
    uint16_t depth[AUTO_MAX_FRAME + 1];
    uint32_t rank[AUTO_MAX_FRAME + 1];
    uint32_t move[AUTO_MAX_FRAME + 1];
    struct key key[AUTO_MAX_PLACE > AUTO_MAX_FRAME ? AUTO_MAX_PLACE : AUTO_MAX_FRAME];
    /* its parts in their final form, places then frames */
    uint32_t form[2 * (AUTO_MAX_PLACE + AUTO_MAX_FRAME)];
};

int auto_open(struct grammar_auto **out, const struct prog *p)
{
    struct grammar_auto *const a = calloc(1, sizeof *a);
    *out = NULL;
    if (!a)
        return ERR_NOMEM;
    a->p = p;
    a->cap = AUTO_MEMORY / UNIT;
    a->base = malloc(AUTO_MEMORY);
    if (!a->base) {
        free(a);
        return ERR_NOMEM;
    }
    auto_flush(a);
    *out = a;
    return 0;
}

void auto_close(struct grammar_auto *a)
{
    if (!a)
        return;
    free(a->base);
    free(a);
}

void auto_flush(struct grammar_auto *a)
{
    a->used = 2;                              /* 0 and AUTO_DEAD are no offsets */
    a->generation++;
    memset(a->bucket, 0, sizeof a->bucket);
    memset(a->join, 0, sizeof a->join);
}

uint32_t auto_generation(const struct grammar_auto *a)
{
    return a->generation;
}

uint64_t *auto_base(const struct grammar_auto *a)
{
    return a->base;
}

uint32_t auto_alloc(struct grammar_auto *a, size_t n)
{
    const size_t units = (n + UNIT - 1) / UNIT;
    if (units > a->cap - a->used)
        return 0;
    const uint32_t at = a->used;
    a->used += (uint32_t)units;
    return at;
}

/* ---- finding places ---- */

static void begin(struct grammar_auto *a)
{
    a->pop = a->over = false;
    a->n_place = a->n_todo = a->n_visit = a->n_frame = 0;
    if (++a->epoch == 0) {                    /* marks of four billion fronts ago */
        memset(a->seen, 0, sizeof a->seen);
        memset(a->known, 0, sizeof a->known);
        a->epoch = 1;
    }
}

static uint32_t mix(uint32_t x, uint32_t y)
{
    return (uint32_t)(((uint64_t)x << 32 | y) * 0x9e3779b97f4a7c15u >> 40);
}

/* The frame's number; 0 when it would be over a limit. */
static uint32_t frame_of(struct grammar_auto *a, uint32_t ret, uint32_t under)
{
    uint32_t i = mix(ret, under) & (N_KNOWN - 1);
    for (; a->known[i].epoch == a->epoch; i = (i + 1) & (N_KNOWN - 1)) {
        const struct frame *const f = &a->frame[a->known[i].frame];
        if (f->ret == ret && f->under == under)
            return a->known[i].frame;
    }
    const uint32_t depth = under ? a->depth[under] + 1u : 1;
    if (depth > GRAMMAR_MAX_DEPTH)
        return 0;
    if (a->n_frame == AUTO_MAX_FRAME) {
        a->over = true;
        return 0;
    }
    const uint32_t n = ++a->n_frame;
    a->frame[n] = (struct frame){ ret, under };
    a->depth[n] = (uint16_t)depth;
    a->known[i] = (struct known){ a->epoch, n };
    return n;
}

static void visit(struct grammar_auto *a, uint32_t op, uint32_t stack)
{
    uint32_t i = mix(op, stack) & (N_SEEN - 1);
    for (; a->seen[i].epoch == a->epoch; i = (i + 1) & (N_SEEN - 1))
        if (a->seen[i].op == op && a->seen[i].stack == stack)
            return;
    if (a->n_visit == MAX_VISIT) {
        a->over = true;
        return;
    }
    a->n_visit++;
    a->seen[i] = (struct seen){ a->epoch, op, stack };
    a->todo[a->n_todo++] = (struct place){ op, stack };
}

static void call(struct grammar_auto *a, const struct op *o, uint32_t stack)
{
    const uint32_t entry = a->p->entry[o->b];
    if (o->a == 0) {                          /* nothing to return for */
        visit(a, entry, stack);
        return;
    }
    const uint32_t f = frame_of(a, o->a, stack);
    if (f)
        visit(a, entry, f);
}

/* Follows what reads nothing until places that read are left. */
static void settle(struct grammar_auto *a)
{
    while (a->n_todo && !a->over) {
        const struct place t = a->todo[--a->n_todo];
        const struct op *const o = &a->p->op[t.op];
        switch ((enum op_kind)o->kind) {
        case OP_SPLIT:
            visit(a, o->a, t.stack);
            visit(a, o->b, t.stack);
            break;
        case OP_CALL:
            call(a, o, t.stack);
            break;
        case OP_END:
            if (t.stack)
                visit(a, a->frame[t.stack].ret, a->frame[t.stack].under);
            else
                a->pop = true;
            break;
        case OP_RANGE:
        case OP_SET:
            if (a->n_place == AUTO_MAX_PLACE)
                a->over = true;
            else
                a->place[a->n_place++] = t;
            break;
        }
    }
}

/* ---- one form ---- */

/* Shell's sort: small sets, and no memory is asked for. */
static void sort(struct key *k, uint32_t n)
{
    static const uint32_t gap[] = { 701, 301, 132, 57, 23, 10, 4, 1 };
    for (unsigned g = 0; g < sizeof gap / sizeof *gap; g++)
        for (uint32_t i = gap[g]; i < n; i++) {
            const struct key x = k[i];
            uint32_t j = i;
            for (; j >= gap[g] && k[j - gap[g]].v > x.v; j -= gap[g])
                k[j] = k[j - gap[g]];
            k[j] = x;
        }
}

static uint32_t depth_of(const struct grammar_auto *a, uint32_t stack)
{
    return stack ? a->depth[stack] : 0;
}

/* The frame at this depth that all places stand on, or 0. */
static uint32_t common_at(const struct grammar_auto *a, uint32_t depth)
{
    uint32_t all = 0;
    for (uint32_t i = 0; i < a->n_place; i++) {
        uint32_t s = a->place[i].stack;
        if (depth_of(a, s) < depth)
            return 0;
        while (a->depth[s] > depth)
            s = a->frame[s].under;
        if (all && s != all)
            return 0;
        all = s;
    }
    return all;
}

static void strip(const struct grammar_auto *a, struct push *push)
{
    push->n = 0;
    while (!a->pop && push->n < AUTO_MAX_PUSH) {
        const uint32_t f = common_at(a, push->n + 1);
        if (!f)
            break;
        push->ret[push->n++] = a->frame[f].ret;
    }
}

/* Numbers the frames above `cut` by depth, then by what they stand on and
 * return to, and writes them to out; how many there are. */
static uint32_t number_frames(struct grammar_auto *a, uint32_t cut, uint32_t *out)
{
    uint32_t n = 0;
    memset(a->rank, 0, (a->n_frame + 1) * sizeof *a->rank);
    for (uint32_t i = 0; i < a->n_place; i++)
        for (uint32_t s = a->place[i].stack; depth_of(a, s) > cut && !a->rank[s];
             s = a->frame[s].under) {
            a->rank[s] = 1;
            a->key[n++] = (struct key){ a->depth[s], s };
        }
    sort(a->key, n);
    for (uint32_t from = 0, to; from < n; from = to) {
        const uint64_t depth = a->key[from].v;
        for (to = from; to < n && a->key[to].v == depth; to++)
            ;
        for (uint32_t i = from; i < to; i++) {
            const struct frame f = a->frame[a->key[i].id];
            const uint64_t under = depth > cut + 1 ? a->rank[f.under] : 0;
            a->key[i].v = under << 32 | f.ret;
        }
        sort(a->key + from, to - from);
        for (uint32_t i = from; i < to; i++) {
            a->rank[a->key[i].id] = i + 1;
            out[2 * i] = (uint32_t)a->key[i].v;
            out[2 * i + 1] = (uint32_t)(a->key[i].v >> 32);
        }
    }
    return n;
}

static void write_places(struct grammar_auto *a, uint32_t cut, uint32_t *out)
{
    for (uint32_t i = 0; i < a->n_place; i++) {
        const struct place x = a->place[i];
        const uint64_t stack = depth_of(a, x.stack) > cut ? a->rank[x.stack] : 0;
        a->key[i].v = stack << 32 | x.op;
    }
    sort(a->key, a->n_place);
    for (uint32_t i = 0; i < a->n_place; i++) {
        out[2 * i] = (uint32_t)a->key[i].v;
        out[2 * i + 1] = (uint32_t)(a->key[i].v >> 32);
    }
}

/* ---- kept ---- */

static int enter(struct grammar_auto *a, const uint32_t *form, uint32_t n_place, uint32_t n_frame,
                 bool pop, uint32_t *out)
{
    const size_t n_bytes = (size_t)(n_place + n_frame) * sizeof(struct place);
    const uint32_t hash = (uint32_t)XXH3_64bits_withSeed(form, n_bytes, n_place * 2u + pop);
    uint32_t *const bucket = &a->bucket[hash & (N_BUCKET - 1)];
    for (uint32_t i = *bucket; i; i = front_at(a->base, i)->chain) {
        const struct front *const f = front_at(a->base, i);
        if (f->hash == hash && f->n_place == n_place && f->n_frame == n_frame && f->pop == pop &&
            memcmp(front_place(f, a->p->n_class), form, n_bytes) == 0) {
            *out = i;
            return 0;
        }
    }
    const size_t n_step = (size_t)a->p->n_class * sizeof(struct step);
    const uint32_t at = auto_alloc(a, sizeof(struct front) + n_step + n_bytes);
    if (!at)
        return AUTO_FULL;
    struct front *const f = front_at(a->base, at);
    *f = (struct front){ .hash = hash, .chain = *bucket, .n_place = (uint16_t)n_place,
                         .n_frame = (uint16_t)n_frame, .pop = pop };
    memset(f->step, 0, n_step);
    memcpy(f->step + a->p->n_class, form, n_bytes);
    *out = *bucket = at;
    return 0;
}

static int finish(struct grammar_auto *a, struct step *out)
{
    *out = (struct step){ AUTO_DEAD, 0 };
    if (a->over || (a->n_place == 0 && !a->pop))
        return 0;
    struct push push;
    strip(a, &push);
    const uint32_t n_frame = number_frames(a, push.n, a->form + 2 * a->n_place);
    write_places(a, push.n, a->form);
    struct step s = { 0, 0 };
    const int rc = enter(a, a->form, a->n_place, n_frame, a->pop, &s.to);
    if (rc)
        return rc;
    if (push.n) {
        s.push = auto_alloc(a, sizeof push);
        if (!s.push)
            return AUTO_FULL;
        memcpy(a->base + s.push, &push, sizeof push);
    }
    *out = s;
    return 0;
}

int auto_enter(struct grammar_auto *a, const struct place *place, uint32_t n_place,
               const struct frame *frame, uint32_t n_frame, bool pop, uint32_t *out)
{
    memcpy(a->form, place, n_place * sizeof *place);
    memcpy(a->form + 2 * n_place, frame, n_frame * sizeof *frame);
    return enter(a, a->form, n_place, n_frame, pop, out);
}

/* ---- the three ways to a front ---- */

int auto_start(struct grammar_auto *a, struct step *out)
{
    begin(a);
    visit(a, a->p->entry[0], 0);
    settle(a);
    return finish(a, out);
}

static bool reads(const struct prog *p, const struct op *o, unsigned byte)
{
    return o->kind == OP_RANGE ? o->lo <= byte && byte <= o->hi
                               : byte_set_has(&p->set[o->b], byte);
}

int auto_build(struct grammar_auto *a, uint32_t front, uint32_t class, struct step *out)
{
    struct front *const f = front_at(a->base, front);
    const struct place *const place = front_place(f, a->p->n_class);
    const struct frame *const frame = front_frame(f, a->p->n_class);
    const unsigned byte = a->p->byte_of[class];
    begin(a);
    for (uint32_t i = 0; i < f->n_frame; i++)             /* numbers stay what they were */
        frame_of(a, frame[i].ret, frame[i].under);
    for (uint32_t i = 0; i < f->n_place; i++) {
        const struct op *const o = &a->p->op[place[i].op];
        if (reads(a->p, o, byte))
            visit(a, o->a, place[i].stack);
    }
    settle(a);
    const int rc = finish(a, out);
    if (!rc)
        f->step[class] = *out;
    return rc;
}

/* Everything one return deeper; what that takes over the depth is dropped. */
static void deepen(struct grammar_auto *a, const struct front *f, uint32_t ret)
{
    const struct place *const place = front_place(f, a->p->n_class);
    const struct frame *const frame = front_frame(f, a->p->n_class);
    const uint32_t bottom = f->n_place ? frame_of(a, ret, 0) : 0;
    a->move[0] = bottom;
    for (uint32_t i = 0; i < f->n_frame; i++) {
        const uint32_t under = a->move[frame[i].under];
        a->move[i + 1] = under ? frame_of(a, frame[i].ret, under) : 0;
    }
    for (uint32_t i = 0; i < f->n_place; i++)
        if (a->move[place[i].stack])
            visit(a, place[i].op, a->move[place[i].stack]);
}

int auto_join(struct grammar_auto *a, uint32_t front, uint32_t ret, struct step *out)
{
    uint32_t *const bucket = &a->join[mix(front, ret) & (N_BUCKET - 1)];
    for (uint32_t i = *bucket; i;) {
        const struct join *const j = (const void *)(a->base + i);
        if (j->front == front && j->ret == ret) {
            *out = j->step;
            return 0;
        }
        i = j->chain;
    }
    assert(front_at(a->base, front)->pop);
    begin(a);
    deepen(a, front_at(a->base, front), ret);
    visit(a, ret, 0);
    settle(a);
    const int rc = finish(a, out);
    const uint32_t at = rc ? 0 : auto_alloc(a, sizeof(struct join));
    if (!at)
        return AUTO_FULL;
    *(struct join *)(void *)(a->base + at) =
        (struct join){ .front = front, .ret = ret, .chain = *bucket, .step = *out };
    *bucket = at;
    return 0;
}
