/* bitnet_doctor_out.c - what was found, and what mends it. */
#include <string.h>

#include "tools/bitnet_doctor.h"

static const char *const layer_name[] = { "file", "tokenizer", "graph", "kernel" };
static const char *const state_name[] = { "not checked", "ok", "mend", "cannot run" };

enum doctor_state doctor_verdict(const struct doctor *d)
{
    enum doctor_state worst = DOCTOR_OK;
    for (int i = 0; i < DOCTOR_N_LAYER; i++)
        worst = d->layer[i].state > worst ? d->layer[i].state : worst;
    return worst;
}

static const char *verdict_name(const struct doctor *d)
{
    const enum doctor_state s = doctor_verdict(d);
    return s == DOCTOR_OK ? "fine" : state_name[s];
}

/* Only what is in the file can be written into a new one. */
static void put_convert(const struct doctor *d, struct buf *b)
{
    if (d->convert.n && d->type[0])
        buf_addf(b, "bitnet convert %s OUT.gguf --type %s%s", d->path, d->type, d->convert.p);
}

static void put_readings(struct buf *b, const struct doctor *d)
{
    if (d->n_reading)
        buf_addf(b, "\nreadings: nats for a fixed text, in all and per token; less is likelier\n");
    for (unsigned i = 0; i < d->n_reading; i++) {
        const struct reading *r = &d->reading[i];
        buf_addf(b, "  %-22s %-14s ", r->what, r->name);
        if (r->ran)
            buf_addf(b, "%9.1f %8.4f", r->nats, doctor_per_token(r));
        else
            buf_addf(b, "not so: %s", r->why);
        buf_addf(b, "%s%s\n", r->in_use ? "  in use" : "", r->best ? "  best" : "");
    }
}

static int report_text(const struct doctor *d, struct err *e)
{
    struct buf b = { 0 };
    buf_addf(&b, "%s: %s\n\n", d->path, verdict_name(d));
    for (int i = 0; i < DOCTOR_N_LAYER; i++)
        buf_addf(&b, "%-10s %-12s %s\n", layer_name[i], state_name[d->layer[i].state],
                 d->layer[i].text);
    put_readings(&b, d);
    if (d->n_warning)
        buf_addf(&b, "\n");
    for (unsigned i = 0; i < d->n_warning; i++)
        buf_addf(&b, "warning: %s\n", d->warning[i]);
    if (d->ini.n)
        buf_addf(&b, "\nto mend, in bitnet.ini:\n\n%s", d->ini.p);
    if (d->convert.n && d->type[0]) {
        buf_addf(&b, "\nor in a new file that needs no settings:\n\n");
        put_convert(d, &b);
        buf_addf(&b, "\n");
    }
    int rc = b.failed || d->ini.failed || d->convert.failed
             ? err_set(e, ERR_NOMEM, "doctor: no memory for the report") : put_out(b.p, b.n, e);
    buf_free(&b);
    return rc;
}

static json_t *readings_json(const struct doctor *d)
{
    json_t *all = json_array();
    for (unsigned i = 0; i < d->n_reading; i++) {
        const struct reading *r = &d->reading[i];
        json_array_append_new(all, json_pack(
            "{s:s,s:s,s:b,s:b,s:b,s:I,s:o,s:o,s:o}", "what", r->what, "name", r->name, "in_use",
            r->in_use, "best", r->best, "ran", r->ran, "tokens", (json_int_t)r->n_tok, "nats",
            r->ran ? json_real(r->nats) : json_null(), "nats_per_token",
            r->ran ? json_real(doctor_per_token(r)) : json_null(), "reason",
            r->ran ? json_null() : json_cstr(r->why)));
    }
    return all;
}

static int report_json(const struct doctor *d, struct err *e)
{
    struct buf convert = { 0 };
    json_t *layers = json_object(), *warnings = json_array();
    for (int i = 0; i < DOCTOR_N_LAYER; i++)
        json_object_set_new(layers, layer_name[i],
                            json_pack("{s:s,s:o}", "state", state_name[d->layer[i].state], "text",
                                      json_cstr(d->layer[i].text)));
    for (unsigned i = 0; i < d->n_warning; i++)
        json_array_append_new(warnings, json_cstr(d->warning[i]));
    put_convert(d, &convert);
    int rc = put_json(json_pack("{s:o,s:s,s:o,s:o,s:o,s:{s:o,s:o}}", "file", json_cstr(d->path),
                                "verdict", verdict_name(d), "layers", layers, "readings",
                                readings_json(d), "warnings", warnings, "mend", "ini",
                                json_cstr(d->ini.p), "convert", json_cstr(convert.p)), e);
    buf_free(&convert);
    return rc;
}

int doctor_report(const struct doctor *d, struct err *e)
{
    return common.json ? report_json(d, e) : report_text(d, e);
}
