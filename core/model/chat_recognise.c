/* chat_recognise.c - which template a model file means.
 *
 * A file's template is a program for another engine, and untrusted. Programs
 * of one meaning differ in blanks, quotes and ways to name a field, so what is
 * compared is a sketch of the text without those, by what only one template
 * has. Nothing of it is run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/chat_parts.h"

#define KEY "tokenizer.chat_template"

enum { LOOKED_AT = 64 << 10, MAX_SIGN = 3 };     /* bytes of a template; signs of one */

/* Spelled as a sketch: no white space, no "\n", single quotes, x.y as x['y']. */
struct sign {
    const char *name;
    const char *has[MAX_SIGN];
    const char *lacks;
};

static const struct sign sign[] = {              /* the first that fits */
    { "chatml", { "<|im_start|>", "<|im_end|>" }, NULL },
    { "llama3", { "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>" }, NULL },
    { "2b4t", { "|capitalize+':'+", "<|eot_id|>", "Assistant:" }, NULL },
    { "2b4t", { "'System:'+", "'User:'+", "<|eot_id|>" }, NULL },
    { "zephyr", { "'<|user|>'+message['content']+eos_token", "<|assistant|>" }, NULL },
    { "falcon3", { "'<|user|>'+message['content']", "'<|assistant|>'+message['content']+eos_token" },
      "<|end|>" },
    { "llama2", { "[INST]", "<<SYS>>", "[/INST]" }, NULL },
};

/* What is known of published files by their numbers. `always`: whatever the
 * file's template says, which is then another model's. */
struct print {
    const char *name;
    uint32_t n_layer, n_embd, n_ff, n_vocab;
    const char *called;                          /* part of general.name, or NULL */
    bool always;
};

static const struct print print[] = {
    { "2b4t", 30, 2560, 6912, 128256, NULL, true },
    { "llama3", 32, 4096, 14336, 128256, NULL, false },
    { "falcon3", 18, 2048, 8192, 131072, "nstruct", false },
    { "falcon3", 22, 3072, 9216, 131072, "nstruct", false },
    { "falcon3", 28, 3072, 23040, 131072, "nstruct", false },
    { "falcon3", 28, 3072, 23040, 131080, "nstruct", false },
    { "falcon3", 40, 3072, 23040, 131072, "nstruct", false },
    { "chatml", 24, 2048, 9216, 32768, "nstruct", false },
    { "chatml", 32, 2048, 13312, 32768, "nstruct", false },
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* NULL: no memory. The caller frees it. */
static char *sketch(struct str s)
{
    const size_t n = s.n < LOOKED_AT ? s.n : LOOKED_AT;
    char *const out = malloc(n * 2 + 1);         /* a field grows by three */
    size_t k = 0;
    if (!out)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        static const char field[] = "message.content";
        const size_t len = sizeof field - 1;
        if (s.p[i] == '\\' && i + 1 < n && s.p[i + 1] == 'n') {
            i++;
        } else if (len <= n - i && !memcmp(s.p + i, field, len)) {
            memcpy(out + k, "message['content']", len + 3);
            k += len + 3;
            i += len - 1;
        } else if (s.p[i] && !is_blank(s.p[i])) {
            out[k++] = s.p[i] == '"' ? '\'' : s.p[i];
        }
    }
    out[k] = 0;
    return out;
}

static bool fits(const struct sign *g, const char *text)
{
    bool yes = !g->lacks || !strstr(text, g->lacks);
    for (int i = 0; i < MAX_SIGN && g->has[i]; i++)
        yes = yes && strstr(text, g->has[i]);
    return yes;
}

static const struct chat_template *by_text(struct str s)
{
    char *const text = sketch(s);
    const struct chat_template *t = NULL;
    for (size_t i = 0; text && !t && i < sizeof sign / sizeof *sign; i++)
        if (fits(&sign[i], text))
            t = chat_find(sign[i].name);
    free(text);
    return t;
}

static const struct print *by_numbers(const struct model *m)
{
    const struct hparams *const hp = &m->hp;
    for (size_t i = 0; i < sizeof print / sizeof *print; i++) {
        const struct print *const p = &print[i];
        if (p->n_layer == hp->n_layer && p->n_embd == hp->n_embd && p->n_ff == hp->n_ff &&
            p->n_vocab == hp->n_vocab && (!p->called || strstr(m->name, p->called)))
            return p;
    }
    return NULL;
}

const struct chat_template *chat_recognise(const struct model *m, char warn[256])
{
    struct str text = { NULL, 0 };
    struct err e;
    const bool has = gguf_get_str(m->file, KEY, &text, &e) > 0 && text.n;
    const struct chat_template *const said = has ? by_text(text) : NULL;
    const struct print *const p = by_numbers(m);
    const struct chat_template *const known = p ? chat_find(p->name) : NULL;
    warn[0] = 0;
    if (known && (p->always || !has)) {
        if (has && said != known)
            snprintf(warn, 256, "%.80s: " KEY ": is not what this model was trained with; the "
                     "template %s is used instead", gguf_name(m->file), known->name);
        return known;
    }
    if (has && !said)
        snprintf(warn, 256, "%.80s: " KEY ": is none that is known here; chat requests get an "
                 "error until chat.template names one", gguf_name(m->file));
    return said;
}
