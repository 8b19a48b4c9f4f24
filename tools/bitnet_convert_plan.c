/* bitnet_convert_plan.c - what each tensor of a model becomes, and the keys of
 * the new file.
 *
 *   token_embd, output        the encoding of --head, or what they have
 *   vectors                   F32
 *   blk.N.x.scale             nothing: reading blk.N.x.weight multiplies it in
 *   every other matrix        the encoding of --type */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/arch.h"
#include "core/model/wtype.h"
#include "tools/bitnet_convert.h"

static bool ends(struct str s, const char *text)
{
    const size_t n = strlen(text);
    return s.n > n && !memcmp(s.p + s.n - n, text, n);
}

/* ----------------------------------------------------------------- tensors */

/* What the model opened under this tensor, or NULL. */
static const struct wsrc *opened(const struct model *m, const struct gguf_tensor *t)
{
    const struct wsrc *const one[] = { &m->embd, &m->head, &m->output_norm };
    for (unsigned i = 0; i < sizeof one / sizeof *one; i++)
        if (one[i]->t == t)
            return one[i];
    for (uint32_t layer = 0; layer < m->hp.n_layer; layer++)
        for (unsigned s = 0; s < T_LAYER_N; s++)
            if (m->layer[layer].t[s].t == t)
                return &m->layer[layer].t[s];
    return NULL;
}

static bool is_table(const struct gguf_tensor *t)
{
    return str_is(t->name, "token_embd.weight") || str_is(t->name, "output.weight");
}

/* NULL: the bytes as they are. */
static const struct enc *table_enc(const struct convert *c, const struct gguf_tensor *t)
{
    if (c->head)
        return c->head->id == t->type ? NULL : c->head;
    return t->type < WTYPE_INTERNAL ? NULL : enc_find("f16");
}

static int plan_tensor(struct convert *c, const struct gguf_tensor *t, struct err *e)
{
    struct convert_item *item = &c->item[c->n];
    const struct wsrc *w = opened(c->m, t);
    if (!w) {
        struct wsrc *own = &c->other[c->n_other++];
        int rc = wsrc_open(own, c->m->file, t, &c->opts, e);
        if (rc)
            return rc;
        w = own;
    }
    *item = (struct convert_item){ .t = t, .w = w, .size = t->size };
    snprintf(item->name, sizeof item->name, "%.*s", (int)t->name.n, t->name.p);
    item->enc = w->rows == 1 ? enc_find("f32") : is_table(t) ? table_enc(c, t) : c->type;
    int rc = item->enc ? enc_check(item->enc, w->rows, w->cols, c->out_preset, &item->size, e) : 0;
    if (rc)
        return err_prefix(e, "%s: tensor %s: --%s %s", gguf_name(c->m->file), item->name,
                          is_table(t) ? "head" : "type", item->enc->name);
    struct gguf_file_tensor *f = &c->list[c->n];
    *f = (struct gguf_file_tensor){ .name = item->name, .n_dims = t->n_dims, .size = item->size,
                                    .type = item->enc ? item->enc->id : t->type };
    memcpy(f->ne, t->ne, sizeof f->ne);
    c->all += (uint64_t)w->rows * w->cols;
    c->n++;
    return 0;
}

static int plan_tensors(struct convert *c, struct err *e)
{
    const struct gguf *g = c->m->file;
    const size_t n = gguf_n_tensors(g);
    c->item = calloc(n, sizeof *c->item);
    c->list = calloc(n, sizeof *c->list);
    c->other = calloc(n, sizeof *c->other);
    if (!c->item || !c->list || !c->other)
        return err_set(e, ERR_NOMEM, "convert: no memory for the list of tensors");
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if (!ends(t->name, ".scale"))
            rc = plan_tensor(c, t, e);
    }
    return rc;
}

/* --------------------------------------------------------------------- keys */

enum own_key { KEY_FILE_TYPE, KEY_QUANT, KEY_ALIGN, KEY_GLU, KEY_VOCAB, KEY_ROT, KEY_PRE, N_KEYS };

struct own_keys {
    char name[N_KEYS][96];
    bool put[N_KEYS];
};

static void name_keys(const struct model *m, struct own_keys *k)
{
    static const char *const name[N_KEYS] = {
        [KEY_FILE_TYPE] = "general.file_type", [KEY_QUANT] = "general.quantization_version",
        [KEY_ALIGN] = "general.alignment", [KEY_GLU] = "%s.hidden_activation",
        [KEY_VOCAB] = "%s.vocab_size", [KEY_ROT] = "%s.rope.dimension_count",
        [KEY_PRE] = "tokenizer.ggml.pre"
    };
    *k = (struct own_keys){ 0 };
    for (unsigned i = 0; i < N_KEYS; i++) {
        const char *arg = strstr(name[i], "%s");
        snprintf(k->name[i], sizeof k->name[i], "%s%s", arg ? m->arch : "",
                 arg ? arg + 2 : name[i]);
    }
}

/* The pre-tokenizer that was read, or NULL: an SPM vocabulary needs none. */
static const char *pre_name(const struct model *m)
{
    const char *kind = vocab_kind(m->vocab), *slash = strchr(kind, '/');
    return slash ? slash + 1 : NULL;
}

static void put_own(struct convert *c, struct own_keys *k, enum own_key i)
{
    const struct hparams *hp = &c->m->hp;
    const char *pre = pre_name(c->m);
    if (k->put[i])
        return;
    k->put[i] = true;
    switch (i) {
    case KEY_FILE_TYPE: gguf_put_u32(&c->keys, k->name[i], c->type->file_type); break;
    case KEY_QUANT:     gguf_put_u32(&c->keys, k->name[i], 2); break;
    case KEY_GLU:       gguf_put_text(&c->keys, k->name[i], arch_glu_name(hp->glu)); break;
    case KEY_VOCAB:     gguf_put_u32(&c->keys, k->name[i], hp->n_vocab); break;
    case KEY_ROT:       gguf_put_u32(&c->keys, k->name[i], hp->n_rot); break;
    case KEY_PRE:
        if (pre)
            gguf_put_text(&c->keys, k->name[i], pre);
        break;
    default:            break;           /* tensors lie as gguf_file.h says    */
    }
}

/* The file's keys in their order, those of our own in their places and, where it
 * lacks them, behind its last. */
static int plan_keys(struct convert *c, struct err *e)
{
    const struct gguf *g = c->m->file;
    struct own_keys own;
    name_keys(c->m, &own);
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        unsigned k = 0;
        while (k < N_KEYS && !str_is(kv->key, own.name[k]))
            k++;
        if (k < N_KEYS)
            put_own(c, &own, (enum own_key)k);
        else
            gguf_put_copy(&c->keys, kv);
    }
    for (unsigned k = 0; k < N_KEYS; k++)
        put_own(c, &own, (enum own_key)k);
    return c->keys.b.failed ? err_set(e, ERR_NOMEM, "convert: no memory for the keys") : 0;
}

int convert_plan(struct convert *c, struct err *e)
{
    int rc = plan_tensors(c, e);
    return rc ? rc : plan_keys(c, e);
}
