/* chat.c - messages into a draft, and a draft into text or token ids.
 *
 * Between two markers lie the template's words and the messages' in one run,
 * which is encoded as a whole: "User: " and what follows share a token where
 * the model's own tokenizer would merge them. Markers are looked for only in
 * the template's words. One hole remains: a vocabulary may hold a marker as
 * an ordinary or user-defined token, which plain encoding of a message would
 * produce. Such texts are cut behind their first byte. */
#include "core/model/chat.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/model/chat_parts.h"
#include "core/model/vocab_parts.h"

/* ---- names ---- */

const struct chat_template *chat_find(const char *name)
{
    for (unsigned i = 0; i < chat_n_table; i++)
        if (!strcmp(chat_table[i].name, name))
            return &chat_table[i];
    return NULL;
}

const char *chat_name(const struct chat_template *t)
{
    return t->name;
}

enum chat_call_form chat_calls(const struct chat_template *t)
{
    return t->calls;
}

void chat_names(struct buf *out)
{
    for (unsigned i = 0; i < chat_n_table; i++)
        buf_addf(out, "%s%s", i ? ", " : "", chat_table[i].name);
}

/* ---- drafts ---- */

static void add_cut(struct chat_draft *d, unsigned mark)
{
    if (d->n_cut == d->cap) {
        const size_t cap = d->cap ? 2 * d->cap : 32;
        struct chat_cut *const p = realloc(d->cut, cap * sizeof *p);
        if (!p) {
            d->failed = true;
            return;
        }
        d->cut = p;
        d->cap = cap;
    }
    d->cut[d->n_cut++] = (struct chat_cut){ d->text.n, mark };
}

/* Index of the marker that the text starts with, or -1. No marker is the
 * beginning of another. */
static int mark_at(const struct chat_template *t, const char *p, size_t n)
{
    for (int i = 0; i < CHAT_MAX_MARK && t->mark[i].text; i++) {
        const size_t len = strlen(t->mark[i].text);
        if (len <= n && !memcmp(p, t->mark[i].text, len))
            return i;
    }
    return -1;
}

void chat_put(struct chat_draft *d, const char *own)
{
    for (size_t n = strlen(own); n;) {
        const int mark = mark_at(d->t, own, n);
        const size_t len = mark < 0 ? 1 : strlen(d->t->mark[mark].text);
        if (mark >= 0)
            add_cut(d, (unsigned)mark);
        buf_add(&d->text, own, len);
        own += len;
        n -= len;
    }
}

void chat_say(struct chat_draft *d, struct str said)
{
    buf_add(&d->text, said.p, said.n);
}

static void draft_free(struct chat_draft *d)
{
    buf_free(&d->text);
    free(d->cut);
}

/* ---- messages ---- */

/* White space as Python's str.strip() has it, which is what templates call. */
static bool is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

static struct str trimmed(struct str s)
{
    uint32_t cp;
    size_t n;
    while (s.n && (n = utf8_decode(s.p, s.n, &cp)) && is_space(cp)) {
        s.p += n;
        s.n -= n;
    }
    while (s.n) {
        size_t back = 1;
        while (back < 4 && back < s.n && ((unsigned char)s.p[s.n - back] & 0xc0) == 0x80)
            back++;
        if (utf8_decode(s.p + s.n - back, back, &cp) != back || !is_space(cp))
            break;
        s.n -= back;
    }
    return s;
}

struct render {
    struct chat_draft *d;
    const struct chat_in *in;
    unsigned at;                      /* the message to do next                */
    bool tools_told;
};

static const struct chat_template *of(const struct render *r)
{
    return r->d->t;
}

static void say(struct render *r, struct str text)
{
    chat_say(r->d, of(r)->trim ? trimmed(text) : text);
}

/* The system's words without what stands around them, tools included. */
static void system_words(struct render *r, const struct chat_msg *m)
{
    const bool tell = r->in->n_tool && !r->tools_told && !of(r)->tools->with_user;
    if (m && of(r)->system_inside)
        chat_say(r->d, m->text);
    else if (m)
        say(r, m->text);
    if (!tell)
        return;
    if (m && m->text.n)
        chat_put(r->d, of(r)->tools->lead);
    chat_put_tools(r->d, r->in);
    r->tools_told = true;
}

static void system_message(struct render *r, const struct chat_msg *m)
{
    const struct chat_frame *const f = &of(r)->frame[CHAT_SYSTEM];
    chat_put(r->d, f->before);
    system_words(r, m);
    chat_put(r->d, f->after);
}

/* A template whose system speaks inside the user's message: a user's message
 * is begun for it if the next is none. White space goes around both together. */
static void system_inside(struct render *r, const struct chat_msg *m)
{
    const bool user_next = r->at < r->in->n_msg && r->in->msg[r->at].role == CHAT_USER;
    chat_put(r->d, of(r)->frame[CHAT_USER].before);
    system_message(r, m);
    if (user_next) {
        const struct str all = r->in->msg[r->at++].text, inner = trimmed(all);
        chat_say(r->d, (struct str){ all.p, (size_t)(inner.p - all.p) + inner.n });
    }
    chat_put(r->d, of(r)->frame[CHAT_USER].after);
}

static void user_message(struct render *r, const struct chat_msg *m)
{
    const struct chat_frame *const f = &of(r)->frame[CHAT_USER];
    chat_put(r->d, f->before);
    if (r->in->n_tool && !r->tools_told) {
        chat_put_tools(r->d, r->in);
        r->tools_told = true;
    }
    say(r, m->text);
    chat_put(r->d, f->after);
}

static void assistant_message(struct render *r, const struct chat_msg *m)
{
    const struct chat_frame *const f = &of(r)->frame[CHAT_ASSISTANT];
    const bool at_end = r->at == r->in->n_msg;
    const bool last = at_end && of(r)->last && !r->in->n_tool;
    chat_put(r->d, f->before);
    say(r, m->text);
    if (m->n_call) {
        if (m->text.n && of(r)->tools->merge)
            chat_put(r->d, "\n");
        chat_put_calls(r->d, m);
    }
    if (!at_end || !r->in->open_last)
        chat_put(r->d, last ? of(r)->last : f->after);
}

static void tool_message(struct render *r, const struct chat_msg *m)
{
    const struct chat_frame *const f = &of(r)->frame[CHAT_TOOL];
    const struct chat_tools *const form = of(r)->tools;
    chat_put(r->d, f->before);
    for (;;) {
        chat_put(r->d, form->result.before);
        say(r, m->text);
        chat_put(r->d, form->result.after);
        if (!form->merge || r->at == r->in->n_msg || r->in->msg[r->at].role != CHAT_TOOL)
            break;
        chat_put(r->d, "\n");
        m = &r->in->msg[r->at++];
    }
    chat_put(r->d, f->after);
}

static void message(struct render *r)
{
    const struct chat_msg *const m = &r->in->msg[r->at++];
    switch (m->role) {
    case CHAT_SYSTEM:
        if (of(r)->system_inside)
            system_inside(r, m);
        else
            system_message(r, m);
        break;
    case CHAT_USER:      user_message(r, m); break;
    case CHAT_ASSISTANT: assistant_message(r, m); break;
    case CHAT_TOOL:      tool_message(r, m); break;
    }
}

/* Fills d, which the caller frees in any case. */
static int draft(struct chat_draft *d, const struct chat_template *t, const struct chat_in *in,
                 struct err *e)
{
    struct render r = { d, in, 0, false };
    *d = (struct chat_draft){ .t = t };
    if (!in->n_msg)
        return err_set(e, ERR_ARG, "messages: is empty, expected at least one message");
    chat_put(d, t->begin);
    if (in->n_tool && !t->tools->with_user && in->msg[0].role != CHAT_SYSTEM) {
        if (t->system_inside)
            system_inside(&r, NULL);
        else
            system_message(&r, NULL);
    }
    while (r.at < in->n_msg)
        message(&r);
    if (in->add_generation && !in->open_last)
        chat_put(d, t->generation);
    if (d->failed || d->text.failed)
        return err_set(e, ERR_NOMEM, "messages: no memory for a prompt of %zu bytes", d->text.n);
    return 0;
}

int chat_text(const struct chat_template *t, const struct chat_in *in, struct buf *out,
              struct err *e)
{
    struct chat_draft d;
    int rc = draft(&d, t, in, e);
    if (!rc) {
        buf_add(out, d.text.p, d.text.n);
        if (out->failed)
            rc = err_set(e, ERR_NOMEM, "messages: no memory for a prompt of %zu bytes", d.text.n);
    }
    draft_free(&d);
    return rc;
}

/* ---- ids ---- */

struct encoding {
    const struct vocab *v;
    const struct chat_template *t;
    struct sink sink;
    int32_t id[CHAT_MAX_MARK];        /* of the markers; -1: they are text     */
    struct err *e;
};

static int32_t mark_id(const struct vocab *v, const struct chat_mark *m)
{
    const int32_t id = vocab_find(v, m->text);
    if (id >= 0 || m->instead == CHAT_AS_TEXT)
        return id;
    return m->instead == CHAT_AS_BOS ? vocab_bos(v) : vocab_eos(v);
}

/* Where plain encoding would turn a text into marker i's token, at or behind p. */
static const char *harm(const struct encoding *c, int i, const char *p, const char *end)
{
    const char *const text = c->t->mark[i].text;
    const int32_t id = vocab_find(c->v, text);
    const char *const at = id < 0 || vocab_is_control(c->v, id)
                               ? NULL : memmem(p, (size_t)(end - p), text, strlen(text));
    return at ? at : end;
}

/* Each marker's next place is kept, so the text is searched once for each. */
static int encode_run(const struct encoding *c, const char *p, size_t n)
{
    const char *const end = p + n;
    const char *next[CHAT_MAX_MARK] = { NULL };
    int rc = 0;
    while (!rc && p < end) {
        const char *stop = end;
        for (int i = 0; i < CHAT_MAX_MARK && c->t->mark[i].text; i++) {
            if (!next[i] || next[i] < p)
                next[i] = harm(c, i, p, end);
            if (next[i] < stop)
                stop = next[i] + 1;
        }
        rc = vocab_encode(c->v, p, (size_t)(stop - p), 0, c->sink.max, c->sink.out, c->e);
        p = stop;
    }
    return rc;
}

static int put_id(struct encoding *c, int32_t id)
{
    const int rc = sink_put(&c->sink, id);
    if (rc == ERR_LIMIT)
        return err_set(c->e, rc, "messages: make more than %zu tokens, the most allowed here",
                       c->sink.max);
    return rc ? err_set(c->e, rc, "messages: no memory for their tokens") : 0;
}

/* The model's BOS, unless the template begins with it itself. */
static int encode_bos(struct encoding *c, const struct chat_draft *d)
{
    const bool own = d->n_cut && d->cut[0].at == 0 && c->id[d->cut[0].mark] == vocab_bos(c->v);
    if (own || !vocab_add_bos(c->v))
        return 0;
    return put_id(c, vocab_bos(c->v));
}

static int encode_draft(struct encoding *c, const struct chat_draft *d)
{
    int rc = encode_bos(c, d);
    size_t from = 0;
    for (size_t i = 0; !rc && i < d->n_cut; i++) {
        const struct chat_cut *const cut = &d->cut[i];
        if (c->id[cut->mark] < 0)
            continue;
        rc = encode_run(c, d->text.p + from, cut->at - from);
        if (!rc)
            rc = put_id(c, c->id[cut->mark]);
        from = cut->at + strlen(c->t->mark[cut->mark].text);
    }
    return rc ? rc : encode_run(c, d->text.p + from, d->text.n - from);
}

int chat_encode(const struct chat_template *t, const struct vocab *v, const struct chat_in *in,
                size_t max, struct tokens *out, struct err *e)
{
    const size_t before = out->n;
    struct encoding c = { .v = v, .t = t, .sink = { out, max }, .e = e };
    struct chat_draft d;
    for (int i = 0; i < CHAT_MAX_MARK && t->mark[i].text; i++)
        c.id[i] = mark_id(v, &t->mark[i]);
    int rc = draft(&d, t, in, e);
    if (!rc)
        rc = encode_draft(&c, &d);
    draft_free(&d);
    if (rc)
        out->n = before;
    return rc;
}

/* ---- ends ---- */

unsigned chat_end_ids(const struct chat_template *t, const struct vocab *v,
                      int32_t id[CHAT_MAX_END])
{
    unsigned n = 0;
    for (unsigned i = 0; i < CHAT_MAX_END && t->end[i]; i++) {
        const int32_t end = vocab_find(v, t->end[i]);
        if (end >= 0 && !vocab_is_eog(v, end))
            id[n++] = end;
    }
    return n;
}

bool chat_is_end(const struct chat_template *t, const struct vocab *v, int32_t id)
{
    int32_t end[CHAT_MAX_END];
    const unsigned n = chat_end_ids(t, v, end);
    for (unsigned i = 0; i < n; i++)
        if (end[i] == id)
            return true;
    return false;
}

unsigned chat_stops(const struct chat_template *t, const struct str **out)
{
    unsigned n = 0;
    while (n < CHAT_MAX_STOP && t->stop[n].p)
        n++;
    *out = t->stop;
    return n;
}
