/* check.c - the table of checks, and its findings as text and JSON. */
#include "core/daemon/check.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"

enum need { NOTHING, PLUG, MODEL, FORWARD };   /* what must be open: else the row */
                                  /* is left out, since an earlier one said why  */

static const struct row {
    const char *what;
    void (*run)(struct check *);
    enum need need;
} table[] = {
    { "plugins", check_plugins, NOTHING },
    { "cpu", check_cpu, PLUG },
    { "governor", check_governor, NOTHING },
    { "quota", check_quota, PLUG },
    { "memory", check_memory, NOTHING },
    { "overcommit", check_overcommit, NOTHING },
    { "huge pages", check_huge_pages, NOTHING },
    { "file descriptors", check_descriptors, NOTHING },
    { "clock", check_clock, NOTHING },
    { "address", check_address, NOTHING },
    { "keys", check_keys, NOTHING },
    { "tls", check_tls, NOTHING },
    { "cors", check_cors, NOTHING },
    { "access log", check_access_log, NOTHING },
    { "trace", check_trace, NOTHING },
    { "weight cache", check_weight_cache, NOTHING },
    { "model file", check_model_file, NOTHING },
    { "model", check_model, PLUG },
    { "template", check_template, MODEL },
    { "devices", check_devices, MODEL },
    { "memory plan", check_plan, FORWARD },
    { "memlock", check_memlock, FORWARD },
    { "strict", check_strict, FORWARD },
};

static const char *const level_name[] = { "ok", "warn", "fail" };

/* ---- findings ---- */

__attribute__((format(printf, 4, 0)))
static void add(struct check *c, enum check_level level, const char *fix, const char *fmt,
                va_list ap)
{
    struct check_finding *f = realloc(c->finding, (c->n + 1) * sizeof *f);
    if (!f) {
        c->failed_alloc = true;
        return;
    }
    c->finding = f;
    f = &c->finding[c->n++];
    *f = (struct check_finding){ .level = level, .what = c->what };
    vsnprintf(f->text, sizeof f->text, fmt, ap);
    snprintf(f->fix, sizeof f->fix, "%s", fix);
}

void check_ok(struct check *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(c, CHECK_OK, "", fmt, ap);
    va_end(ap);
}

void check_warn(struct check *c, const char *fix, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(c, CHECK_WARN, fix, fmt, ap);
    va_end(ap);
}

void check_fail(struct check *c, const char *fix, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(c, CHECK_FAIL, fix, fmt, ap);
    va_end(ap);
}

void check_err(struct check *c, const struct err *e, const char *fix)
{
    check_fail(c, fix, "%s", e->text);
}

void check_read(const struct check *c, const char *path, char out[256])
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", c->root, path);
    FILE *f = fopen(full, "re");
    if (!f || !fgets(out, 256, f))
        *out = 0;
    out[strcspn(out, "\n")] = 0;
    if (f)
        fclose(f);
}

enum check_level check_worst(const struct check *c)
{
    enum check_level worst = CHECK_OK;
    for (unsigned i = 0; i < c->n; i++)
        worst = c->finding[i].level > worst ? c->finding[i].level : worst;
    return c->failed_alloc ? CHECK_FAIL : worst;
}

void check_free(struct check *c)
{
    free(c->finding);
    c->finding = NULL;
    c->n = 0;
}

/* ---- rows ---- */

static bool is_open(const struct bitnetd *d, enum need need)
{
    return need == NOTHING || (need == PLUG && d->plug) || (need == MODEL && d->model) ||
           (need == FORWARD && d->forward);
}

static void run_row(struct check *c, const struct row *r)
{
    c->what = r->what;
    if (is_open(c->d, r->need))
        r->run(c);
}

/* Every row of the table. */
static void run_all(struct check *c)
{
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++)
        run_row(c, &table[i]);
}

void check_row(struct check *c, const char *what)
{
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].what, what))
            run_row(c, &table[i]);
}

/* ---- output ---- */

void check_put_text(const struct check *c, struct buf *out)
{
    for (unsigned i = 0; i < c->n; i++) {
        const struct check_finding *f = &c->finding[i];
        buf_addf(out, "%s %s - %s%s%s\n", level_name[f->level], f->what, f->text,
                 *f->fix ? " - " : "", f->fix);
    }
    buf_addf(out, "%s\n", level_name[check_worst(c)]);
}

static json_t *text(const char *s)
{
    json_t *j = json_string(s);
    return j ? j : json_string("not UTF-8");
}

void check_put_json(const struct check *c, struct buf *out)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < c->n; i++) {
        const struct check_finding *f = &c->finding[i];
        json_t *j = json_pack("{s:s,s:s,s:o}", "level", level_name[f->level], "what", f->what,
                              "finding", text(f->text));
        if (*f->fix)
            json_object_set_new(j, "fix", text(f->fix));
        json_array_append_new(list, j);
    }
    json_t *root = json_pack("{s:s,s:o}", "verdict", level_name[check_worst(c)], "findings", list);
    char *dump = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    if (dump)
        buf_addf(out, "%s\n", dump);
    else
        out->failed = true;
    free(dump);
    json_decref(root);
}

int check_command(struct bitnetd *d, const struct err *conf_error)
{
    struct check c = { .d = d, .root = "", .what = "configuration" };
    struct buf out = { 0 };
    log_set_level(LOG_LEVEL_ERROR);       /* warnings are findings here */
    d->quiet = d->args.json;
    if (conf_error) {
        check_err(&c, conf_error, "see bitnet.ini(5)");
    } else {
        check_ok(&c, "%s is understood", d->args.conf_path ? d->args.conf_path : "the default");
        run_all(&c);
    }
    (d->args.json ? check_put_json : check_put_text)(&c, &out);
    const bool whole = out.p && !out.failed && fputs(out.p, stdout) >= 0 && !fflush(stdout);
    const int status = !whole || check_worst(&c) == CHECK_FAIL;
    buf_free(&out);
    check_free(&c);
    return status;
}
