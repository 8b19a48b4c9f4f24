/* conf.c - reading the configuration from its four sources.
 *
 * inih splits lines; everything it would pass over in silence (a cut line, a
 * NUL, a section name over its limit, a second definition) is refused by the
 * line reader in front of it, which also counts the lines. */
#include "core/base/conf.h"

#include <ctype.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/conf_keys.h"
#include "core/base/file.h"

enum {
    MAX_FILE_SIZE = 1 << 20,
    MAX_LINE_SIZE = 190,          /* inih's buffer holds 200                   */
    MAX_SECTION_SIZE = 49,        /* inih cuts longer names                    */
    MAX_KEYS = 256                /* rows of the table, asserted below         */
};

#define PLUGIN_PREFIX "plugin:"

struct conf_option {
    struct conf_option *next;
    char *id, *key, *value;
    unsigned line;                /* 0: not from the file                      */
};

struct reading {                  /* one pass over a file                      */
    struct conf *conf;
    const char *name, *at, *end;
    unsigned line;
    unsigned key_line[MAX_KEYS];  /* where each key was set; 0: not yet        */
    struct err *err;
    int rc;
    unsigned rc_line;
};

static struct conf_option *option_find(const struct conf *c, const char *id, const char *key)
{
    for (struct conf_option *o = c->option; o; o = o->next)
        if (!strcmp(o->id, id) && !strcmp(o->key, key))
            return o;
    return NULL;
}

const char *conf_option(const struct conf *c, const char *plugin_id, const char *key)
{
    const struct conf_option *o = option_find(c, plugin_id, key);
    return o ? o->value : NULL;
}

static bool has_options_of(const struct conf *c, const struct conf *of)
{
    for (const struct conf_option *o = of->option; o; o = o->next) {
        const char *v = conf_option(c, o->id, o->key);
        if (!v || strcmp(v, o->value))
            return false;
    }
    return true;
}

bool conf_same_options(const struct conf *a, const struct conf *b)
{
    return has_options_of(a, b) && has_options_of(b, a);
}

static void option_free(struct conf_option *o)
{
    free(o->id);
    free(o->key);
    free(o->value);
    free(o);
}

static int option_set(struct conf *c, const char *id, const char *key, const char *value,
                      unsigned line, struct err *e)
{
    if (!*id || !*key)
        return err_set(e, ERR_ARG, "[" PLUGIN_PREFIX "%s] %s: an id and a key are needed", id, key);
    struct conf_option *o = option_find(c, id, key);
    if (o && line && o->line)
        return err_set(e, ERR_ARG, "[" PLUGIN_PREFIX "%s] %s: already set on line %u", id, key,
                       o->line);
    char *copy = strdup(value);
    if (o && copy) {
        free(o->value);
        o->value = copy;
        o->line = line;
        return 0;
    }
    o = calloc(1, sizeof *o);
    if (o) {
        *o = (struct conf_option){ c->option, strdup(id), strdup(key), copy, line };
        if (o->id && o->key && o->value) {
            c->option = o;
            return 0;
        }
        option_free(o);
    } else
        free(copy);
    return err_set(e, ERR_NOMEM, "no memory for the value");
}

static int unknown_section(const char *section, struct err *e)
{
    char near[96];
    conf_nearest_section(section, near);
    return err_set(e, ERR_ARG, "[%s]: unknown section%s%s%s", section, *near ? "; did you mean [" : "",
                   near, *near ? "]?" : "; expected one of conf/bitnet.ini");
}

/* One value from any source. line: 0 unless it came from a file. */
static int set_value(struct conf *c, const char *section, const char *key, const char *value,
                     unsigned line, struct err *e)
{
    size_t n = strlen(PLUGIN_PREFIX);
    if (!strncmp(section, PLUGIN_PREFIX, n))
        return option_set(c, section + n, key, value, line, e);
    const struct conf_key *k = conf_key_find(section, key);
    if (k) {
        int rc = conf_key_set(k, c, value, e);
        if (rc)
            err_prefix(e, "%s.%s", section, key);
        return rc;
    }
    if (!conf_section_known(section))
        return unknown_section(section, e);
    char near[96];
    conf_nearest_key(section, key, near);
    return err_set(e, ERR_ARG, "%s.%.64s: unknown key%s%s%s", section, key,
                   *near ? "; did you mean " : "", near,
                   *near ? "?" : "; expected one of conf/bitnet.ini");
}

static void reading_fail(struct reading *r, int rc)
{
    if (r->rc)
        return;
    r->rc = rc;
    r->rc_line = r->line;
    err_prefix(r->err, "%s:%u", r->name, r->line);
}

/* What inih would cut or misread. Returns 0 or the error. */
static int check_line(struct reading *r, const char *p, size_t n)
{
    if (memchr(p, 0, n))
        return err_set(r->err, ERR_ARG, "the line holds a NUL byte, expected text");
    if (n > MAX_LINE_SIZE)
        return err_set(r->err, ERR_ARG, "the line has %zu bytes, expected at most %d; longer values "
                       "can come from the environment or --set", n, MAX_LINE_SIZE);
    if (!n || *p != '[')
        return 0;
    const char *close = memchr(p, ']', n);
    size_t len = close ? (size_t)(close - p) - 1 : 0;
    if (len > MAX_SECTION_SIZE)
        return err_set(r->err, ERR_ARG, "the section's name has %zu bytes, expected at most %d", len,
                       MAX_SECTION_SIZE);
    char name[MAX_SECTION_SIZE + 1] = "";
    memcpy(name, p + 1, len);
    if (close && strncmp(name, PLUGIN_PREFIX, strlen(PLUGIN_PREFIX)) && !conf_section_known(name))
        return unknown_section(name, r->err);
    return 0;
}

/* inih's reader: the next line, without the white space in front, which inih
 * would take for a continuation of the value above. */
static char *next_line(char *out, int size, void *ctx)
{
    struct reading *r = ctx;
    if (r->rc || r->at == r->end)
        return NULL;
    const char *eol = memchr(r->at, '\n', (size_t)(r->end - r->at));
    const char *p = r->at, *stop = eol ? eol : r->end;
    r->at = eol ? eol + 1 : r->end;
    r->line++;
    while (p < stop && isspace((unsigned char)*p))
        p++;
    while (p < stop && isspace((unsigned char)stop[-1]))
        stop--;
    size_t n = (size_t)(stop - p);
    int rc = check_line(r, p, n);
    if (!rc && n + 1 >= (size_t)size)
        rc = err_set(r->err, ERR_INTERNAL, "the line does not fit inih's %d bytes", size);
    if (rc) {
        reading_fail(r, rc);
        return NULL;
    }
    memcpy(out, p, n);
    out[n] = 0;
    return out;
}

static int set_from_file(void *ctx, const char *section, const char *key, const char *value)
{
    struct reading *r = ctx;
    if (r->rc)
        return 0;
    const struct conf_key *k = conf_key_find(section, key);
    int rc = 0;
    if (!*section)
        rc = err_set(r->err, ERR_ARG, "%.64s: stands before the first [section]", key);
    else if (k && r->key_line[k - conf_key])
        rc = err_set(r->err, ERR_ARG, "%s.%s: already set on line %u", section, key,
                     r->key_line[k - conf_key]);
    else
        rc = set_value(r->conf, section, key, value ? value : "", r->line, r->err);
    if (rc)
        reading_fail(r, rc);
    else if (k)
        r->key_line[k - conf_key] = r->line;
    return !rc;
}

static int load_text(struct conf *c, const char *text, size_t n, const char *name, struct err *e)
{
    struct reading r = { .conf = c, .name = name, .at = text, .end = text + n, .err = e };
    int rc = ini_parse_stream(next_line, &r, set_from_file, &r);
    /* inih goes on after a line that it cannot split: the first error counts. */
    if (rc > 0 && (!r.rc || (unsigned)rc < r.rc_line))
        return err_set(e, ERR_ARG, "%s:%d: neither [section] nor key = value", name, rc);
    if (rc < 0 && !r.rc)
        return err_set(e, ERR_NOMEM, "%s: no memory to read it", name);
    return r.rc;
}

/* "1" or "0" and the other words of a BOOL key. */
static int parse_flag(const char *value, bool *out, struct err *e)
{
    struct conf tmp = { 0 };
    int rc = conf_key_set(conf_key_find("strict", "enabled"), &tmp, value, e);
    *out = tmp.strict;
    return rc;
}

/* Without surprises: every request's result follows from the request. */
static int set_deterministic(struct conf *c, const char *value, struct err *e)
{
    bool on;
    int rc = parse_flag(value, &on, e);
    if (!rc && on) {
        c->seed_random = false;
        c->determinism = BNP_DET_EXACT;
    }
    return rc;
}

static const struct {
    const char *name, *section, *key;
} alias[] = {
    { "BITNET_GGUF", "model", "path" },
    { "BITNET_SEED", "engine", "seed" },
    { "BITNET_STRICT_MODE", "strict", "enabled" },
};

/* "BITNET_ENGINE_MAX_SEQ" for engine, max_seq. */
static void env_name(const char *section, const char *key, char out[96])
{
    snprintf(out, 96, "BITNET_%s%s%s", section, *key ? "_" : "", key);
    for (char *p = out; *p; p++)
        *p = (char)toupper((unsigned char)*p);
}

static bool is_alias(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof alias / sizeof *alias; i++)
        if (strlen(alias[i].name) == n && !memcmp(alias[i].name, name, n))
            return true;
    return false;
}

/* A variable that begins like a section's and names none of its keys is a
 * slip of the pen, not somebody else's variable. */
static int refuse_unknown_env(const char *name, size_t n, struct err *e)
{
    if (is_alias(name, n))
        return 0;
    bool ours = false;
    for (unsigned i = 0; i < conf_n_key; i++) {
        char want[96];
        env_name(conf_key[i].section, conf_key[i].key, want);
        if (strlen(want) == n && !memcmp(want, name, n))
            return 0;
        env_name(conf_key[i].section, "", want);
        size_t m = strlen(want);
        ours = ours || (n > m && !memcmp(want, name, m) && name[m] == '_');
    }
    if (!ours)
        return 0;
    return err_set(e, ERR_ARG, "environment %.*s: no such key; expected BITNET_SECTION_KEY with a key "
                   "of conf/bitnet.ini", (int)(n > 96 ? 96 : n), name);
}

static const char *env_get(char *const *env, const char *name)
{
    size_t n = strlen(name);
    for (; *env; env++)
        if (!strncmp(*env, name, n) && (*env)[n] == '=')
            return *env + n + 1;
    return NULL;
}

static int load_env(struct conf *c, char *const *env, struct err *e)
{
    for (char *const *p = env; *p; p++) {
        size_t n = strcspn(*p, "=");
        int rc = refuse_unknown_env(*p, n, e);
        if (rc)
            return rc;
    }
    for (size_t i = 0; i < sizeof alias / sizeof *alias; i++) {
        const char *v = env_get(env, alias[i].name);
        if (v && set_value(c, alias[i].section, alias[i].key, v, 0, e))
            return err_prefix(e, "environment %s", alias[i].name);
    }
    for (unsigned i = 0; i < conf_n_key; i++) {
        char name[96];
        env_name(conf_key[i].section, conf_key[i].key, name);
        const char *v = env_get(env, name);
        if (v && conf_key_set(&conf_key[i], c, v, e))
            return err_prefix(e, "environment %s", name);
    }
    const char *v = env_get(env, "BITNET_DETERMINISTIC");
    if (v && set_deterministic(c, v, e))
        return err_prefix(e, "environment BITNET_DETERMINISTIC");
    return 0;
}

/* "section.key=value"; a plugin's id has dots of its own, a key has none. */
static int load_set(struct conf *c, const char *arg, struct err *e)
{
    const char *eq = strchr(arg, '=');
    const char *dot = eq ? memrchr(arg, '.', (size_t)(eq - arg)) : NULL;
    if (!dot)
        return err_set(e, ERR_ARG, "--set %.128s: expected section.key=value", arg);
    char *section = strndup(arg, (size_t)(dot - arg));
    char *key = strndup(dot + 1, (size_t)(eq - dot) - 1);
    int rc = section && key ? set_value(c, section, key, eq + 1, 0, e)
                            : err_set(e, ERR_NOMEM, "no memory for the value");
    free(section);
    free(key);
    if (rc)
        err_prefix(e, "--set");
    return rc;
}

static int load_defaults(struct conf *c, struct err *e)
{
    if (conf_n_key > MAX_KEYS)
        return err_set(e, ERR_INTERNAL, "configuration: %u keys, room for %d", conf_n_key, MAX_KEYS);
    for (unsigned i = 0; i < conf_n_key; i++) {
        int rc = conf_key_set(&conf_key[i], c, conf_key[i].def, e);
        if (rc)
            return rc;
    }
    return 0;
}

int conf_load_mem(struct conf *c, const char *text, size_t n, const char *name, char *const *env,
                  const char *const *set, unsigned n_set, struct err *e)
{
    *c = (struct conf){ 0 };
    int rc = load_defaults(c, e);
    if (!rc && text)
        rc = load_text(c, text, n, name, e);
    if (!rc && env)
        rc = load_env(c, env, e);
    for (unsigned i = 0; !rc && i < n_set; i++)
        rc = load_set(c, set[i], e);
    if (rc)
        conf_free(c);
    return rc;
}

int conf_load(struct conf *c, const char *path, char *const *env, const char *const *set,
              unsigned n_set, struct err *e)
{
    *c = (struct conf){ 0 };
    char *text = NULL;
    size_t n = 0;
    int rc = path ? file_read(path, MAX_FILE_SIZE, &text, &n, e) : 0;
    if (!rc)
        rc = conf_load_mem(c, text, n, path, env, set, n_set, e);
    free(text);
    return rc;
}

void conf_free(struct conf *c)
{
    for (unsigned i = 0; i < conf_n_key; i++)
        if (conf_key[i].type == CONF_TEXT || conf_key[i].type == CONF_WORD)
            free(*(char **)((char *)c + conf_key[i].at));
    for (struct conf_option *o = c->option, *next; o; o = next) {
        next = o->next;
        option_free(o);
    }
    *c = (struct conf){ 0 };
}
