/* bitnet_doctor_file.c - the file and its tokenizer open, or why not.
 *
 * The tokenizer is opened on its own too, so that its faults are not taken for
 * the tensors'. */
#include <inttypes.h>
#include <string.h>

#include "core/model/hf.h"
#include "tools/bitnet_doctor.h"

/* "42 I2_S, 25 F32 and 1 F16", in the order of their first tensors. */
static void put_types(struct buf *b, const struct gguf *g)
{
    struct {
        const char *name;
        unsigned n;
    } kind[16] = { { NULL, 0 } };
    unsigned n_kind = 0;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const char *name = wtype_name_of(gguf_tensor_at(g, i));
        unsigned k = 0;
        name = name ? name : "unknown";
        while (k < n_kind && strcmp(kind[k].name, name) != 0)
            k++;
        if (k == sizeof kind / sizeof *kind)
            continue;
        n_kind += k == n_kind;
        kind[k].name = name;
        kind[k].n++;
    }
    for (unsigned k = 0; k < n_kind; k++)
        buf_addf(b, "%s%u %s", k ? k + 1 == n_kind ? " and " : ", " : "", kind[k].n, kind[k].name);
}

/* As `bitnet convert --type` calls it. */
static void set_type(struct doctor *d, const struct model *m)
{
    static const char *const written[] = { "I2_S", "TQ1_0", "TQ2_0", "TL1", "TL2", "Q2_0", "IQ1_BN",
                                           "IQ2_BN", "IQ2_BN_R4", "F16", "BF16", "F32" };
    const char *name = wtype_name_of(m->layer[0].t[T_ATTN_Q].t);
    for (size_t i = 0; name && i < sizeof written / sizeof *written; i++)
        for (size_t k = 0; !strcmp(name, written[i]) && k <= strlen(name); k++)
            d->type[k] = (char)(name[k] >= 'A' && name[k] <= 'Z' ? name[k] + 32 : name[k]);
}

static void describe(struct doctor *d, const struct model *m)
{
    struct buf types = { 0 };
    set_type(d, m);
    put_types(&types, m->file);
    doctor_say(d, DOCTOR_FILE, DOCTOR_OK, "%zu tensors (%s), %s graph of %" PRIu32 " layers",
               gguf_n_tensors(m->file), types.p ? types.p : "", m->arch, m->hp.n_layer);
    buf_free(&types);
    doctor_say(d, DOCTOR_TOKENIZER, DOCTOR_OK, "%s, %" PRIu32 " tokens", vocab_kind(m->vocab),
               vocab_n(m->vocab));
    d->is_generator = m->hp.pooling == POOLING_NONE;
    d->n_warning = m->n_warning;
    memcpy(d->warning, m->warning, sizeof d->warning);
}

/* A file that opens, and no model: is it the tokenizer? */
static void blame(struct doctor *d, const struct gguf *g, const struct err *why)
{
    struct vocab *v = NULL;
    struct err e = { 0 };
    char warn[256];
    if (vocab_open(&v, g, d->opts.pre, warn, &e)) {
        doctor_say(d, DOCTOR_TOKENIZER, DOCTOR_BROKEN, "%s", e.text);
        doctor_say(d, DOCTOR_FILE, strcmp(e.text, why->text) ? DOCTOR_BROKEN : DOCTOR_OK, "%s",
                   strcmp(e.text, why->text) ? why->text : "the container is sound");
    } else {
        doctor_say(d, DOCTOR_TOKENIZER, DOCTOR_OK, "%s, %" PRIu32 " tokens", vocab_kind(v),
                   vocab_n(v));
        doctor_say(d, DOCTOR_FILE, DOCTOR_BROKEN, "%s", why->text);
    }
    vocab_close(v);
}

int doctor_file(struct doctor *d, struct err *e)
{
    struct model *m = NULL;
    struct gguf *g = NULL;
    struct err why = { 0 };
    (void)e;
    if (!model_open(&m, d->path, &d->opts, &why)) {
        describe(d, m);
        model_close(m);
        return 0;
    }
    struct err no = { 0 };
    if (hf_open_any(&g, d->path, &no))
        doctor_say(d, DOCTOR_FILE, DOCTOR_BROKEN, "%s", why.text);
    else
        blame(d, g, &why);
    gguf_close(g);
    return 0;
}
