/* prom.c - a strict reader of Prometheus' text format. */
#include "prom.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char problem[512];

static const char *bad(const char *what, const char *line)
{
    snprintf(problem, sizeof problem, "%s: %.300s", what, line);
    return problem;
}

static size_t name_size(const char *p)
{
    size_t n = 0;
    while (isalpha((unsigned char)p[n]) || p[n] == '_' || (n && isdigit((unsigned char)p[n])))
        n++;
    return n;
}

/* The byte after the closing brace, or NULL. */
static const char *skip_labels(const char *p)
{
    for (p++; *p != '}'; p += *p == ',') {
        const size_t n = name_size(p);
        if (!n || p[n] != '=' || p[n + 1] != '"')
            return NULL;
        for (p += n + 2; *p != '"'; p++)
            if (!*p || (*p == '\\' && !strchr("\\\"n", *++p)))
                return NULL;
        p++;
        if (*p != ',' && *p != '}')
            return NULL;
    }
    return p + 1;
}

static const char *read_comment(struct prom *m, const char *line)
{
    char name[96], rest[200];
    const bool help = sscanf(line, "# HELP %95s %199[^\n]", name, rest) == 2;
    if (help) {
        for (unsigned i = 0; i < m->n_family; i++)
            if (!strcmp(m->family[i].name, name))
                return bad("announced twice", line);
        if (m->n_family == PROM_MAX_FAMILY)
            return bad("too many families", line);
        snprintf(m->family[m->n_family].name, 96, "%s", name);
        snprintf(m->family[m->n_family++].help, 200, "%s", rest);
        return NULL;
    }
    if (sscanf(line, "# TYPE %95s %15s", name, rest) != 2 || !m->n_family ||
        strcmp(m->family[m->n_family - 1].name, name) || *m->family[m->n_family - 1].type)
        return bad("neither HELP nor the TYPE of the HELP before", line);
    if (strcmp(rest, "counter") && strcmp(rest, "gauge") && strcmp(rest, "histogram"))
        return bad("unknown type", line);
    snprintf(m->family[m->n_family - 1].type, 16, "%.15s", rest);
    return NULL;
}

/* A sample belongs to the family announced last. */
static bool belongs(const struct prom *m, const char *line, size_t n)
{
    if (!m->n_family || !*m->family[m->n_family - 1].type)
        return false;
    const char *name = m->family[m->n_family - 1].name;
    const size_t have = strlen(name);
    if (strcmp(m->family[m->n_family - 1].type, "histogram"))
        return n == have && !strncmp(line, name, n);
    static const char *const part[] = { "_bucket", "_sum", "_count" };
    for (unsigned i = 0; i < 3; i++)
        if (n == have + strlen(part[i]) && !strncmp(line, name, have) &&
            !strncmp(line + have, part[i], strlen(part[i])))
            return true;
    return false;
}

static const char *read_sample(struct prom *m, const char *line)
{
    const size_t n = name_size(line);
    const char *p = line + n;
    char *end;
    if (!n || !belongs(m, line, n))
        return bad("a sample outside its family", line);
    if (*p == '{' && !(p = skip_labels(p)))
        return bad("bad labels", line);
    if (*p != ' ' || m->n_sample == PROM_MAX_SAMPLE || (size_t)(p - line) >= 256)
        return bad("no value", line);
    struct prom_sample *s = &m->sample[m->n_sample++];
    snprintf(s->key, sizeof s->key, "%.*s", (int)(p - line), line);
    s->value = strtod(p + 1, &end);
    if (end == p + 1 || *end || !isfinite(s->value) || s->value < 0)
        return bad("not a number from 0 on", line);
    for (struct prom_sample *o = m->sample; o < s; o++)
        if (!strcmp(o->key, s->key))
            return bad("twice", line);
    return NULL;
}

static const char *check_hist(const struct prom *m, const char *name)
{
    char key[160];
    double below = 0, bound = -1;
    unsigned n = 0;
    const size_t len = (size_t)snprintf(key, sizeof key, "%s_bucket{le=\"", name);
    for (unsigned i = 0; i < m->n_sample; i++) {
        const struct prom_sample *s = &m->sample[i];
        if (strncmp(s->key, key, len))
            continue;
        const double le = strtod(s->key + len, NULL);       /* knows +Inf */
        if (le <= bound || s->value < below)
            return bad("buckets do not ascend", s->key);
        bound = le;
        below = s->value;
        n++;
    }
    snprintf(key, sizeof key, "%s_count", name);
    if (n < 2 || !isinf(bound) || prom_value(m, key) != below)
        return bad("no +Inf, or another count", name);
    snprintf(key, sizeof key, "%s_sum", name);
    return prom_value(m, key) < 0 ? bad("no sum", name) : NULL;
}

const char *prom_read(struct prom *m, const char *text)
{
    const char *wrong = NULL;
    memset(m, 0, sizeof *m);
    while (*text && !wrong) {
        char line[1024];
        const size_t n = strcspn(text, "\n");
        if (!text[n] || n >= sizeof line)
            return bad("a line without an end", text);
        snprintf(line, sizeof line, "%.*s", (int)n, text);
        text += n + 1;
        wrong = *line == '#' ? read_comment(m, line) : read_sample(m, line);
    }
    for (unsigned i = 0; i < m->n_family && !wrong; i++)
        if (!strcmp(m->family[i].type, "histogram"))
            wrong = check_hist(m, m->family[i].name);
    return wrong;
}

double prom_value(const struct prom *m, const char *key)
{
    for (unsigned i = 0; i < m->n_sample; i++)
        if (!strcmp(m->sample[i].key, key))
            return m->sample[i].value;
    return -1;
}
