/* settings.c - built whole or not at all, freed with the last reference. */
#include "core/serve/settings.h"

#include <stdlib.h>

#include "core/serve/access.h"

int settings_open(struct settings **out, const struct serve_conf *c, struct err *e)
{
    *out = NULL;
    struct settings *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "server: no memory for its settings");
    atomic_init(&s->n_ref, 1);
    s->max_body_size = c->max_body_size;
    s->log_prompts = c->log_prompts;
    int rc = cors_open(&s->cors, c->cors_origin ? c->cors_origin : "", e);
    if (!rc && c->keys && *c->keys)
        rc = keys_read(&s->keys, c->keys, e);
    if (!rc)
        rc = access_open(&s->access, c->access_log ? c->access_log : "", e);
    if (rc)
        settings_unref(s);
    else
        *out = s;
    return rc;
}

struct settings *settings_ref(struct settings *s)
{
    atomic_fetch_add_explicit(&s->n_ref, 1, memory_order_relaxed);
    return s;
}

void settings_unref(struct settings *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->n_ref, 1, memory_order_acq_rel) != 1)
        return;
    keys_free(s->keys);
    cors_close(&s->cors);
    access_close(s->access);
    free(s);
}
