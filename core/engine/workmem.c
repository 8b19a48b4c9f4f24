/* workmem.c - see workmem.h. */
#include "core/engine/workmem.h"

static int get_private(struct dev *d, uint32_t kind, uint64_t size, uint64_t align,
                       const char *what, bnp_span *out, struct err *err)
{
    struct err why = { 0 };
    const uint64_t room = size > UINT64_MAX - BNP_SLACK ? size : size + BNP_SLACK;
    const int st = d->ops->mem_alloc(d->d, kind, room, align, out);
    if (!st && out->base && out->size >= size)
        return 0;                 /* as given, for mem_free */
    *out = (bnp_span){ 0 };
    const int rc = plug_fail(d->plugin, st ? st : BNP_E_INTERNAL, what, &why);
    return err_set(err, rc, "%.300s: device %s cannot give %llu bytes: pin less to it, or lower "
                   "engine.kv_tok or engine.row_budget", why.text, d->info.name,
                   (unsigned long long)size);
}

int workmem_get(struct plug *plug, struct dev *d, uint32_t kind, uint64_t size, uint64_t align,
                const char *what, bnp_span *out, struct err *err)
{
    if (workmem_private(d))
        return get_private(d, kind, size, align, what, out, err);
    *out = (bnp_span){ plug_mem_alloc(plug, size, align), 0, size };
    if (out->base)
        return 0;
    *out = (bnp_span){ 0 };
    return err_set(err, ERR_NOMEM, "%s: no memory for %llu bytes: lower engine.kv_tok, "
                   "engine.n_ctx or engine.row_budget", what, (unsigned long long)size);
}

void workmem_put(struct plug *plug, struct dev *d, bnp_span *s)
{
    if (s->base && workmem_private(d))
        d->ops->mem_free(d->d, *s);
    else if (s->base)
        plug_mem_free(plug, s->base);
    *s = (bnp_span){ 0 };
}
