/* grammar.c - grammars and the places of sequences in them, as others see them.
 *
 * A state keeps a copy of its front, in its own memory: the automaton may
 * forget everything between two calls, and whether it did never shows. Each
 * question is asked at most twice, the second time of an empty automaton. */
#include "core/engine/grammar.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/grammar_walk.h"

struct grammar {
    atomic_uint n_ref;
    struct grammar_vocab *vocab;
    struct prog prog;
    char note[160];
    pthread_mutex_t lock;           /* guards what follows */
    struct grammar_auto *automaton;
    struct walk walk;
};

struct copy {                       /* of a front, and the returns under it */
    uint32_t n_place, n_frame, n_ret;
    bool pop;
    struct place place[AUTO_MAX_PLACE];
    struct frame frame[AUTO_MAX_FRAME];
    uint32_t ret[GRAMMAR_MAX_DEPTH];
};

struct grammar_state {
    struct grammar *g;
    uint32_t generation, front;     /* valid in that generation of the automaton */
    bool lead;                      /* the first space will not be shown         */
    bool ended;                     /* an end-of-generation id was accepted      */
    bool has_mask;
    const char *trouble;
    uint32_t *mask;                 /* [n_word] */
    struct copy here;
};

/* ---- compiling ---- */

static int translate(struct grammar *g, const char *gbnf, size_t n, struct err *e)
{
    struct tree t = { 0 };
    int rc = grammar_parse(&t, gbnf, n, e);
    if (!rc)
        rc = grammar_check(&t, g->note, e);
    if (!rc)
        rc = grammar_emit(&g->prog, &t, e);
    grammar_tree_free(&t);
    return rc;
}

static int prepare(struct grammar *g, struct err *e)
{
    struct step start = { 0, 0 };
    if (auto_open(&g->automaton, &g->prog) ||
        walk_open(&g->walk, g->automaton, &g->prog, g->vocab))
        return err_set(e, ERR_NOMEM, "grammar: no memory to use it; try again later");
    if (auto_start(g->automaton, &start) || start.to == AUTO_DEAD)
        return err_set(e, ERR_LIMIT, "grammar: root can begin in more than %d ways, the most "
                       "allowed; give alternatives a common beginning", AUTO_MAX_PLACE);
    return 0;
}

int grammar_compile(struct grammar **out, struct grammar_vocab *v, const char *gbnf, size_t n,
                    struct err *e)
{
    *out = NULL;
    struct grammar *const g = calloc(1, sizeof *g);
    if (!g)
        return err_set(e, ERR_NOMEM, "grammar: no memory for %zu bytes of text", n);
    atomic_init(&g->n_ref, 1);
    g->vocab = grammar_vocab_ref(v);
    pthread_mutex_init(&g->lock, NULL);
    int rc = translate(g, gbnf, n, e);
    if (!rc)
        rc = prepare(g, e);
    if (rc) {
        grammar_unref(g);
        return rc;
    }
    *out = g;
    return 0;
}

struct grammar *grammar_ref(struct grammar *g)
{
    atomic_fetch_add_explicit(&g->n_ref, 1, memory_order_relaxed);
    return g;
}

void grammar_unref(struct grammar *g)
{
    if (!g || atomic_fetch_sub_explicit(&g->n_ref, 1, memory_order_acq_rel) != 1)
        return;
    walk_close(&g->walk);
    auto_close(g->automaton);
    grammar_prog_free(&g->prog);
    grammar_vocab_unref(g->vocab);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

bool grammar_is_single(const struct grammar *g)
{
    return atomic_load_explicit(&g->n_ref, memory_order_acquire) == 1;
}

const char *grammar_note(const struct grammar *g)
{
    return g->note;
}

/* ---- questions, under the lock ---- */

static void store(struct grammar_state *s, struct at at)
{
    const struct grammar *const g = s->g;
    const struct front *const f = front_at(auto_base(g->automaton), at.front);
    struct copy *const c = &s->here;
    c->n_place = f->n_place;
    c->n_frame = f->n_frame;
    c->pop = f->pop;
    memcpy(c->place, front_place(f, g->prog.n_class), f->n_place * sizeof *c->place);
    memcpy(c->frame, front_frame(f, g->prog.n_class), f->n_frame * sizeof *c->frame);
    c->n_ret = g->walk.ret[at.stack].depth;
    for (uint32_t i = c->n_ret, r = at.stack; i > 0; r = g->walk.ret[r].under)
        c->ret[--i] = g->walk.ret[r].op;
    s->front = at.front;
    s->generation = auto_generation(g->automaton);
}

/* Where the state stands, in the automaton as it is now. */
static int load(struct grammar_state *s, struct at *at)
{
    struct grammar *const g = s->g;
    const struct copy *const c = &s->here;
    if (s->generation != auto_generation(g->automaton)) {
        const int rc = auto_enter(g->automaton, c->place, c->n_place, c->frame, c->n_frame,
                                  c->pop, &s->front);
        if (rc)
            return rc;
        s->generation = auto_generation(g->automaton);
    }
    *at = (struct at){ s->front, walk_begin(&g->walk, c->ret, c->n_ret) };
    return 0;
}

enum question { START, BYTES, MOVE, MASK };

static int answer(struct grammar_state *s, enum question q, struct str text)
{
    struct walk *const w = &s->g->walk;
    struct at at = { 0, 0 };
    struct step start;
    int rc = q == START ? auto_start(s->g->automaton, &start) : load(s, &at);
    if (rc)
        return rc;
    if (q == START) {
        walk_begin(w, NULL, 0);
        rc = walk_land(w, start, &at);
    } else if (q == MASK) {
        memset(s->mask, 0, s->g->vocab->n_word * sizeof *s->mask);
        return s->lead ? walk_mask_lead(w, at, s->mask) : walk_mask(w, at, s->mask);
    } else {
        rc = walk_bytes(w, text, &at);
    }
    if (!rc && q != BYTES)
        store(s, at);
    return rc;
}

static int ask(struct grammar_state *s, enum question q, struct str text)
{
    struct grammar *const g = s->g;
    pthread_mutex_lock(&g->lock);
    int rc = answer(s, q, text);
    if (rc == AUTO_FULL) {
        auto_flush(g->automaton);
        rc = answer(s, q, text);
    }
    pthread_mutex_unlock(&g->lock);
    return rc;
}

/* ---- states ---- */

int grammar_state_open(struct grammar_state **out, struct grammar *g, struct err *e)
{
    *out = NULL;
    struct grammar_state *const s = calloc(1, sizeof *s);
    uint32_t *const mask = calloc((size_t)g->vocab->n_word + 1, sizeof *mask);
    if (!s || !mask) {
        free(s);
        free(mask);
        return err_set(e, ERR_NOMEM, "grammar: no memory for one more sequence");
    }
    s->g = grammar_ref(g);
    s->mask = mask;
    grammar_state_reset(s, false);
    *out = s;
    return 0;
}

void grammar_state_close(struct grammar_state *s)
{
    if (!s)
        return;
    grammar_unref(s->g);
    free(s->mask);
    free(s);
}

void grammar_state_reset(struct grammar_state *s, bool first)
{
    s->lead = first && vocab_strips_space(s->g->vocab->vocab);
    s->ended = s->has_mask = false;
    s->trouble = "";
    /* grammar_compile saw that this fits. */
    ask(s, START, (struct str){ 0 });
}

static bool may_end(const struct grammar_state *s)
{
    return s->ended || (s->here.pop && s->here.n_ret == 0);
}

bool grammar_is_done(const struct grammar_state *s)
{
    return s->ended || (may_end(s) && s->here.n_place == 0);
}

/* The bytes that a token adds to the text that is shown. */
static struct str shown(const struct grammar_state *s, int32_t id)
{
    struct str text = trie_bytes(s->g->vocab, id);
    if (s->lead && text.n && text.p[0] == ' ') {
        text.p++;
        text.n--;
    }
    return text;
}

static int move(struct grammar_state *s, enum question q, int32_t id)
{
    if (trie_is_end(s->g->vocab, id))
        return may_end(s) ? 0 : WALK_DEAD;
    if (s->ended || trie_bytes(s->g->vocab, id).n == 0)
        return WALK_DEAD;
    return ask(s, q, shown(s, id));
}

bool grammar_allows(struct grammar_state *s, int32_t id)
{
    return move(s, BYTES, id) == 0;
}

int grammar_accept(struct grammar_state *s, int32_t id, struct err *e)
{
    if (move(s, MOVE, id))
        return err_set(e, ERR_ARG, "grammar: token %d may not follow here; ask grammar_allows "
                       "or grammar_mask first", id);
    s->has_mask = false;
    if (trie_is_end(s->g->vocab, id))
        s->ended = true;
    else
        s->lead = false;
    return 0;
}

const char *grammar_trouble(const struct grammar_state *s)
{
    return s->trouble;
}

static bool any(const struct grammar_state *s)
{
    for (uint32_t i = 0; i < s->g->vocab->n_word; i++)
        if (s->mask[i])
            return true;
    return false;
}

static int fill_mask(struct grammar_state *s)
{
    const struct grammar_vocab *const v = s->g->vocab;
    if (s->ended)
        memset(s->mask, 0, v->n_word * sizeof *s->mask);
    const int rc = s->ended ? 0 : ask(s, MASK, (struct str){ 0 });
    for (uint32_t i = 0; may_end(s) && i < v->n_word; i++)
        s->mask[i] |= v->end[i];
    return rc;
}

const uint32_t *grammar_mask(struct grammar_state *s)
{
    if (s->has_mask)
        return s->mask;
    s->trouble = "";
    if (fill_mask(s))
        s->trouble = "grammar: too many ways to read the text so far; a less ambiguous grammar "
                     "is needed";
    else if (!any(s))
        s->trouble = "grammar: no token may follow: the vocabulary has none that fits, or all "
                     "would open too many rules at once";
    s->has_mask = !s->trouble[0];
    return s->has_mask ? s->mask : NULL;
}
