/* check_load.c - everything up to the weights, as a start would do it. */
#include <stdio.h>
#include <string.h>

#include "core/daemon/check.h"
#include "core/model/chat.h"

#define MIB(n) ((unsigned long long)((n) >> 20))

void check_plugins(struct check *c)
{
    struct err e = { 0 };
    if (load_plugins(c->d, &e)) {
        check_err(c, &e, "reinstall the plugins; bitnet-plugins list shows each file");
        return;
    }
    const struct plug *p = c->d->plug;
    for (unsigned i = 0; i < p->n_entry; i++) {
        const struct plug_entry *n = p->entry[i];
        if (n->state == PLUG_REJECTED && n->has_note && (n->note.isa & ~p->topo.abi.isa))
            check_ok(c, "%s is for other processors: %s", n->file, n->reason);
        else if (n->state == PLUG_REJECTED)
            check_warn(c, "update it, or take it out of the folder", "%s rejected: %s", n->file,
                       n->reason);
        else
            check_ok(c, "%s, %u devices%s%s", n->file, n->n_dev, *n->reason ? ": " : "", n->reason);
    }
}

void check_model(struct check *c)
{
    struct err e = { 0 };
    if (!*c->d->model_path)
        return;                   /* "model file" said why */
    if (load_model(c->d, &e)) {
        check_err(c, &e, "bitnet inspect shows what the file holds");
        return;
    }
    const struct model *m = c->d->model;
    check_ok(c, "%s, %u layers, %u tokens of %s vocabulary, %u positions", m->arch, m->hp.n_layer,
             vocab_n(m->vocab), vocab_kind(m->vocab), m->hp.n_ctx);
    for (unsigned i = 0; i < m->n_warning; i++)
        check_warn(c, "see model.pre and model.activation in bitnet.ini(5)", "%s", m->warning[i]);
}

void check_template(struct check *c)
{
    struct bitnetd *d = c->d;
    const bool automatic = !strcmp(d->conf.chat_template, "auto");
    char warn[256] = "";
    struct err e = { 0 };
    if (load_chat(d, &e))
        check_err(c, &e, "chat.template = auto, or a name from the list");
    else if (automatic && (chat_recognise(d->model, warn), *warn))
        check_warn(c, "chat.template = NAME says which", "%s", warn);
    else
        check_ok(c, "%s", !d->chat ? "none: conversations are refused" :
                 automatic ? "the file's own is known" : d->conf.chat_template);
}

void check_devices(struct check *c)
{
    struct err e = { 0 };
    if (load_weights(c->d, &e))
        check_err(c, &e, "the table of bitnetd --check and bitnet-plugins explain show who may "
                  "do what");
    else
        check_ok(c, "every weight has one");
}

void check_plan(struct check *c)
{
    const struct mem_plan *m = &c->d->forward->mem;
    if (m->limit && m->total > m->limit - m->limit / 10)
        check_warn(c, "lower engine.kv_tok or engine.max_seq, or free memory",
                   "%llu MiB of the %llu MiB that may be used: others on this machine may need "
                   "the rest", MIB(m->total), MIB(m->limit));
    else
        check_ok(c, "%llu MiB of %llu MiB", MIB(m->total), MIB(m->limit));
}

/* The same questions again, as strict mode asks them. */
void check_strict(struct check *c)
{
    struct bitnetd *d = c->d;
    struct err e = { 0 };
    if (d->conf.strict) {
        check_ok(c, "on; the proof on the model's shapes comes at the start");
        return;
    }
    const bool quiet = d->quiet;
    forward_close(d->forward);
    d->forward = NULL;
    d->quiet = d->conf.strict = true;
    if (load_forward(d, NULL, &e))
        check_ok(c, "off, and would not start: %s", e.text);
    else
        check_ok(c, "off, and could be turned on");
    d->conf.strict = false;
    d->quiet = quiet;
}
