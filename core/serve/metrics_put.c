/* metrics_put.c - numbers and labels as Prometheus reads them. */
#include "core/serve/metrics_put.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/utf8.h"

#define PREFIX "bitnetd_"

void metrics_family(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_addf(b, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name, help, name, type);
}

/* UTF-8; backslash, quote and line feed are the three that the format escapes. */
static void put_value(struct buf *b, const char *value)
{
    struct buf text = { 0 };
    utf8_mend(value, strlen(value), &text);
    b->failed |= text.failed;
    for (const char *s = text.p; s && *s; s++) {
        if (*s == '\n')
            buf_add(b, "\\n", 2);
        else if (*s == '\\' || *s == '"')
            buf_addf(b, "\\%c", *s);
        else
            buf_add(b, s, 1);
    }
    buf_free(&text);
}

static void put_number(char out[40], uint64_t v, enum metrics_unit unit)
{
    if (unit == METRICS_US)
        snprintf(out, 40, "%" PRIu64 ".%06u", v / 1000000, (unsigned)(v % 1000000));
    else if (unit == METRICS_NS)
        snprintf(out, 40, "%" PRIu64 ".%09u", v / 1000000000, (unsigned)(v % 1000000000));
    else
        snprintf(out, 40, "%" PRIu64, v);
}

void metrics_sample(struct buf *b, const char *name, const struct metrics_label *label,
                    unsigned n_label, uint64_t v, enum metrics_unit unit)
{
    char number[40];
    buf_addf(b, PREFIX "%s", name);
    for (unsigned i = 0; i < n_label; i++) {
        buf_addf(b, "%s%s=\"", i ? "," : "{", label[i].name);
        put_value(b, label[i].value);
        buf_add(b, "\"", 1);
    }
    put_number(number, v, unit);
    buf_addf(b, "%s %s\n", n_label ? "}" : "", number);
}

void metrics_one(struct buf *b, const char *name, const char *type, const char *help, uint64_t v,
                 enum metrics_unit unit)
{
    metrics_family(b, name, type, help);
    metrics_sample(b, name, NULL, 0, v, unit);
}

void metrics_hist(struct buf *b, const char *name, const char *help, const struct hist *h)
{
    const enum metrics_unit unit = h->kind == HIST_TIME ? METRICS_US : METRICS_ONE;
    struct hist_view v;
    char number[40], of[64];
    hist_look(h, &v);
    metrics_family(b, name, "histogram", help);
    snprintf(of, sizeof of, "%s_bucket", name);
    for (unsigned i = 0; i <= v.n_bound; i++) {
        if (i < v.n_bound)
            put_number(number, v.bound[i], unit);
        const struct metrics_label le = { "le", i < v.n_bound ? number : "+Inf" };
        metrics_sample(b, of, &le, 1, v.below[i], METRICS_ONE);
    }
    snprintf(of, sizeof of, "%s_sum", name);
    metrics_sample(b, of, NULL, 0, v.sum, unit);
    snprintf(of, sizeof of, "%s_count", name);
    metrics_sample(b, of, NULL, 0, v.below[v.n_bound], METRICS_ONE);
}
