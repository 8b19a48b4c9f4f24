/* gen_format.c - what the texts of a gen must be, as its grammar. */
#include <stdio.h>
#include <string.h>

#include "core/serve/api_params.h"
#include "core/serve/api_schema.h"
#include "core/serve/gen_grammar.h"

static int refuse(int rc, const char *param, const char *text, struct api_error *e)
{
    *e = (struct api_error){ .status = rc == ERR_NOMEM ? 500 : 400,
                             .code = rc == ERR_UNSUPPORTED ? "unsupported_value" : "invalid_value" };
    snprintf(e->param, sizeof e->param, "%s", param);
    snprintf(e->message, sizeof e->message, "%s: %.400s", param, text);
    return rc;
}

int gen_set_grammar(struct gen *g, const char *gbnf, size_t n, const char *param,
                    struct api_error *e)
{
    struct err err = { 0 };
    bool busy = false;
    const int rc = gen_grammars_get(g->model->grammars, gbnf, n, &g->grammar, &busy, &err);
    if (rc)
        refuse(rc, param, err.text, e);
    if (busy) {
        e->status = 429;
        e->code = "grammars_busy";
    }
    return rc;
}

static int set_schema(struct gen *g, struct str schema, const char *param, struct api_error *e)
{
    struct buf gbnf = { 0 };
    struct err err = { 0 };
    int rc = api_schema_to_gbnf(schema.p, schema.n, &gbnf, &err);
    if (!rc && gbnf.failed)
        rc = err_set(&err, ERR_NOMEM, "no memory");
    rc = rc ? refuse(rc, param, err.text, e) : gen_set_grammar(g, gbnf.p, gbnf.n, param, e);
    buf_free(&gbnf);
    return rc;
}

int gen_set_format(struct gen *g, const struct api_common *c, const char *param,
                   struct api_error *e)
{
    switch (c->format) {
    case API_GRAMMAR:
        return gen_set_grammar(g, c->grammar.p, c->grammar.n, "grammar", e);
    case API_JSON_OBJECT:
        return gen_set_grammar(g, api_json_object_gbnf, strlen(api_json_object_gbnf), param, e);
    case API_JSON_SCHEMA:
        return set_schema(g, c->schema, param, e);
    case API_TEXT:
        break;
    }
    return 0;
}
