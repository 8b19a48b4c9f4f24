/* bitnet_opt.c - options from tables: reading them, and --help. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bitnet.h"

struct common common;

const struct opt common_file[] = {
    { "model", 'm', OPT_TEXT, &common.model, "PATH",
      "GGUF file or Hugging Face directory (default: the embedded model)" },
    { "json", 0, OPT_FLAG, &common.json, NULL, "the result as JSON" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

const struct opt common_compute[] = {
    { "plugin", 0, OPT_TEXT, &common.plugin, "ID", "compute on this plugin where it can" },
    { "plugin-dir", 0, OPT_TEXT, &common.plugin_dir, "DIR",
      "where the plugins are (default: beside the program)" },
    { "threads", 't', OPT_U32, &common.n_threads, "N", "workers (default 0: one per core)" },
    { "isa", 0, OPT_TEXT, &common.isa, "LIST",
      "what plugins may use of the processor (default: all)" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

const struct opt common_reading[] = {
    { "i2s-layout", 0, OPT_TEXT, &common.i2s_layout, "NAME",
      "type 36: a, b, c, rs-inline32 or rs-qk256 (default a)" },
    { "tl-preset", 0, OPT_TEXT, &common.tl_preset, "NAME",
      "tiles of TL1 and TL2: setup_env, ini, or MxK:BM/BY/bm,..." },
    { "pre", 0, OPT_TEXT, &common.pre, "NAME", "pre-tokenizer (default: what the file says)" },
    { "activation", 0, OPT_TEXT, &common.activation, "NAME",
      "relu2, silu or gelu_tanh (default: what the file says)" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct opt *find(const struct usage *u, const char *name, size_t n, char letter)
{
    for (unsigned t = 0; t < USAGE_MAX_TABLE && u->opt[t]; t++)
        for (const struct opt *o = u->opt[t]; o->name; o++)
            if (letter ? o->letter == letter : strlen(o->name) == n && !memcmp(o->name, name, n))
                return o;
    return NULL;
}

static int print_help(const struct usage *u, struct err *e)
{
    struct buf b = { 0 };
    buf_addf(&b, "usage: bitnet %s %s\n\n%s\n\n", u->verb, u->synopsis, u->about);
    for (unsigned t = 0; t < USAGE_MAX_TABLE && u->opt[t]; t++)
        for (const struct opt *o = u->opt[t]; o->name; o++) {
            char left[64];
            snprintf(left, sizeof left, "%c%c%s--%s%s%s", o->letter ? '-' : ' ',
                     o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name,
                     o->arg ? " " : "", o->arg ? o->arg : "");
            buf_addf(&b, "  %-26s %s\n", left, o->help);
        }
    int rc = b.failed ? err_set(e, ERR_NOMEM, "help: no memory") : put_out(b.p, b.n, e);
    buf_free(&b);
    return rc ? rc : 1;
}

static int set_whole(const struct opt *o, const char *v, uint64_t max, uint64_t *to, struct err *e)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(v, &end, 10);
    if (v[0] < '0' || v[0] > '9' || *end || errno || n > max)
        return err_set(e, ERR_ARG, "--%s: %.100s, expected a whole number, at most %llu", o->name,
                       v, (unsigned long long)max);
    *to = n;
    return 0;
}

static int set_real(const struct opt *o, const char *v, struct err *e)
{
    char *end;
    const double d = strtod(v, &end);
    if (end == v || *end)
        return err_set(e, ERR_ARG, "--%s: %.100s, expected a number", o->name, v);
    if (o->kind == OPT_F64)
        *(double *)o->to = d;
    else
        *(float *)o->to = strtof(v, NULL);
    return 0;
}

static int set(const struct opt *o, const char *v, struct err *e)
{
    struct opt_texts *list = o->to;
    uint64_t n = 0;
    int rc = 0;
    switch (o->kind) {
    case OPT_FLAG:
        *(bool *)o->to = true;
        break;
    case OPT_TEXT:
        *(const char **)o->to = v;
        break;
    case OPT_TEXTS:
        if (list->n == sizeof list->at / sizeof *list->at)
            return err_set(e, ERR_ARG, "--%s: more than %zu of them", o->name,
                           sizeof list->at / sizeof *list->at);
        list->at[list->n++] = v;
        break;
    case OPT_U32:
        rc = set_whole(o, v, UINT32_MAX, &n, e);
        if (!rc)
            *(uint32_t *)o->to = (uint32_t)n;
        break;
    case OPT_U64:
        rc = set_whole(o, v, UINT64_MAX, &n, e);
        if (!rc)
            *(uint64_t *)o->to = n;
        break;
    case OPT_F32:
    case OPT_F64:
        rc = set_real(o, v, e);
        break;
    }
    return rc;
}

/* --name, --name=value, -xvalue; a value may also be the next argument. */
static int parse_one(const struct usage *u, char **argv, int argc, int *i, struct err *e)
{
    const char *a = argv[*i], *value = NULL;
    const struct opt *o;
    if (a[1] == '-') {
        size_t n = strcspn(a + 2, "=");
        o = find(u, a + 2, n, 0);
        value = a[2 + n] ? a + 3 + n : NULL;
    } else {
        o = find(u, NULL, 0, a[1]);
        value = a[2] ? a + 2 : NULL;
    }
    if (!o)
        return err_set(e, ERR_ARG, "%.100s: unknown option, see `bitnet %s --help`", a, u->verb);
    if (o->kind == OPT_FLAG && value)
        return err_set(e, ERR_ARG, "%.100s: --%s takes no value", a, o->name);
    if (o->kind != OPT_FLAG && !value) {
        if (*i + 1 >= argc)
            return err_set(e, ERR_ARG, "--%s: its value is missing, expected %s", o->name, o->arg);
        value = argv[++*i];
    }
    return set(o, value, e);
}

int opt_parse(const struct usage *u, int argc, char **argv, struct words *w, struct err *e)
{
    bool over = false;            /* "--" was seen */
    w->n = 0;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (!over && (!strcmp(a, "--help") || !strcmp(a, "-h")))
            return print_help(u, e);
        if (!over && !strcmp(a, "--")) {
            over = true;
        } else if (!over && a[0] == '-' && a[1]) {
            int rc = parse_one(u, argv, argc, &i, e);
            if (rc)
                return rc;
        } else if (w->n < sizeof w->at / sizeof *w->at) {
            w->at[w->n++] = a;
        } else {
            return err_set(e, ERR_ARG, "%.100s: one argument too many", a);
        }
    }
    return 0;
}

int opt_output(const char *format, struct err *e)
{
    const bool json = !strcmp(format, "json");
    if (!json && strcmp(format, "text"))
        return err_set(e, ERR_ARG, "--output: %.60s, expected text or json", format);
    common.json = common.json || json;
    return 0;
}
