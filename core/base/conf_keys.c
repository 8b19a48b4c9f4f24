/* conf_keys.c - every key of the configuration, its range, default and meaning. */
#include "core/base/conf_keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bitnet_plugin.h"
#include "core/base/log.h"

static const struct conf_word yes_no[] = {
    { "yes", 1 }, { "no", 0 }, { "true", 1 }, { "false", 0 }, { "on", 1 }, { "off", 0 },
    { "1", 1 }, { "0", 0 }, { NULL, 0 }
};
static const struct conf_word bindings[] = {
    { "auto", 0 }, { "yes", 1 }, { "no", 2 }, { NULL, 0 }
};
static const struct conf_word layouts[] = {
    { "a", 0 }, { "b", 1 }, { "c", 2 }, { "rs-inline32", 3 }, { "rs-qk256", 4 }, { NULL, 0 }
};
static const struct conf_word activations[] = {
    { "auto", 0 }, { "relu2", 0 }, { "silu", 0 }, { "gelu_tanh", 0 }, { NULL, 0 }
};
static const struct conf_word page_sizes[] = {
    { "16", 16 }, { "32", 32 }, { "64", 64 }, { NULL, 0 }
};
static const struct conf_word kv_formats[] = {
    { "f16", BNP_KV_F16 }, { "i8", BNP_KV_I8 }, { NULL, 0 }
};
static const struct conf_word det_classes[] = {
    { "exact", BNP_DET_EXACT }, { "stable", BNP_DET_STABLE }, { "bounded", BNP_DET_BOUNDED },
    { NULL, 0 }
};
static const struct conf_word levels[] = {
    { "error", LOG_LEVEL_ERROR }, { "warn", LOG_LEVEL_WARN }, { "info", LOG_LEVEL_INFO },
    { "debug", LOG_LEVEL_DEBUG }, { NULL, 0 }
};
static const struct conf_word formats[] = { { "text", 0 }, { "json", 1 }, { NULL, 0 } };

#define AT(field) offsetof(struct conf, field)
#define NUMBER(s, k, field, def, lo, hi, text) \
    { s, k, CONF_NUMBER, AT(field), def, lo, hi, NULL, text }
#define REAL(s, k, field, def, lo, hi, text) \
    { s, k, CONF_REAL, AT(field), def, lo, hi, NULL, text }
#define WORDS(s, k, type, field, def, words, text) \
    { s, k, type, AT(field), def, 0, 0, words, text }
#define TEXT(s, k, field, def, text) { s, k, CONF_TEXT, AT(field), def, 0, 0, NULL, text }

const struct conf_key conf_key[] = {
    TEXT("server", "host", host, "127.0.0.1",
         "Address or name to listen on; :: or 0.0.0.0 for every interface; unix:/path."),
    NUMBER("server", "port", port, "8080", 0, 65535, "TCP port; 0 takes a free one and prints it."),
    NUMBER("server", "threads", http_threads, "2", 1, 64, "Threads that speak HTTP."),
    NUMBER("server", "max_connections", max_connections, "256", 1, 100000,
           "Open connections; more wait in the kernel's queue."),
    NUMBER("server", "max_body_kib", max_body_kib, "1024", 1, 65536,
           "Largest request body, KiB; a larger one gets 413."),
    NUMBER("server", "timeout_s", timeout_s, "60", 1, 86400,
           "Seconds without traffic after which a connection is closed."),
    NUMBER("server", "read_timeout_s", read_timeout_s, "30", 1, 86400,
           "Seconds in which a request must have arrived; later gets 408."),
    NUMBER("server", "max_per_address", max_per_address, "0", 0, 10000,
           "Open connections of one client address; one more is closed; 0: any number."),
    NUMBER("server", "max_header_kib", max_header_kib, "32", 4, 1024,
           "Request line and headers, KiB; larger ones get 431 or 414."),
    NUMBER("server", "max_prompt_tok", max_prompt_tok, "0", 0, 1 << 20,
           "Tokens that one prompt may have; a longer one gets 400; 0: what fits into engine.n_ctx."),
    NUMBER("server", "max_new_tok", max_new_tok, "0", 0, 1 << 20,
           "Tokens that one answer gets at most, whatever it asks for; 0: what fits."),
    TEXT("server", "keys", keys, "",
         "File of API keys, as bitnet key makes them; empty: nobody needs one."),
    WORDS("server", "open", CONF_BOOL, server_open, "no", yes_no,
          "Without keys, on an address that others reach: this is meant."),
    TEXT("server", "tls_cert", tls_cert, "",
         "Certificate, and those that vouch for it, as PEM; empty: no TLS."),
    TEXT("server", "tls_key", tls_key, "", "The certificate's key, as PEM."),
    TEXT("server", "socket_mode", socket_mode, "0660", "Mode of the Unix socket, octal."),
    WORDS("server", "sandbox", CONF_BOOL, sandbox, "no", yes_no,
          "Once loaded, only the system calls that serving needs; no new code, no new processes."),
    WORDS("server", "page", CONF_BOOL, page, "yes", yes_no,
          "A page at / to try the model in a browser; no: 404."),
    TEXT("server", "cors_origin", cors_origin, "",
         "Origins whose web pages may call, with spaces between, or *; empty: none."),
    NUMBER("server", "max_grammars", max_grammars, "8", 0, 1024,
           "Different grammars and JSON schemas at once, up to 24 MiB each; one more gets 429."),
    NUMBER("server", "drain_s", drain_s, "30", 0, 3600,
           "Seconds that running requests get to finish after SIGTERM."),
    NUMBER("server", "deadline_s", deadline_s, "0", 0, 86400,
           "Seconds that a request may take if it does not say timeout_ms itself; 0: no limit."),
    NUMBER("server", "max_queue_s", max_queue_s, "0", 0, 86400,
           "Seconds that a request may wait for a place before it gets 503; 0: no limit."),
    NUMBER("server", "watchdog_s", watchdog_s, "90", 0, 86400,
           "Seconds that one call of a device may take before bitnetd counts as stalled; 0: any."),

    TEXT("model", "path", model_path, "",
         "A GGUF file or a Hugging Face directory; empty serves the small model that comes along."),
    TEXT("model", "name", model_name, "",
         "The model's id for clients; empty takes the file's name without .gguf."),
    WORDS("model", "i2s_layout", CONF_CHOICE, i2s_layout, "a", layouts,
          "What type 36 holds: byte order a, b or c of I2_S, or rs-inline32 or rs-qk256."),
    TEXT("model", "tl_preset", tl_preset, "auto",
         "Tiles of TL1 and TL2 tensors: auto, setup_env, ini, or MxK:BM/BY/bm with commas between."),
    TEXT("model", "pre", pre, "auto",
         "Pre-tokenizer: llama-bpe, falcon3, qwen2, gpt-2 or default; auto: as the file says."),
    WORDS("model", "activation", CONF_WORD, activation, "auto", activations,
          "Activation of the feed-forward layers: auto, relu2, silu or gelu_tanh."),

    TEXT("chat", "template", chat_template, "auto",
         "How conversations become prompts: auto, or a name of docs/chat.md, as chatml."),

    NUMBER("engine", "n_ctx", n_ctx, "0", 0, 1 << 20,
           "Longest sequence, prompt and answer, in tokens; 0: what the model was trained for."),
    NUMBER("engine", "max_seq", max_seq, "8", 1, 4096, "Sequences that decode at once."),
    NUMBER("engine", "row_budget", row_budget, "256", 1, 65536,
           "Token rows in one step, all sequences together."),
    NUMBER("engine", "prefill_chunk", prefill_chunk, "128", 1, 65536,
           "Token rows of one prompt in one step, at most."),
    NUMBER("engine", "max_queue", max_queue, "64", 1, 100000,
           "Requests that may wait; one more gets 429."),
    WORDS("engine", "prefix_cache", CONF_BOOL, prefix_cache, "yes", yes_no,
          "Keep keys and values of what was served: a prompt that begins alike is not computed again."),
    NUMBER("engine", "prefix_cache_mib", prefix_cache_mib, "0", 0, 1 << 24,
           "MiB of the KV cache that may hold what nobody uses; 0: all that is not needed."),
    NUMBER("engine", "max_new_default", max_new_default, "128", 1, 1 << 20,
           "Tokens to generate when a request has no max_tokens."),
    NUMBER("engine", "draft", draft, "0", 0, 16,
           "Tokens guessed from the text so far, and checked in one step; 0: none."),
    NUMBER("engine", "kv_tok", kv_tok, "0", 0, 1 << 28,
           "Tokens of KV cache in all; 0: max_seq times n_ctx."),
    WORDS("engine", "page_tok", CONF_CHOICE, page_tok, "16", page_sizes,
          "Tokens in a page of the KV cache: 16, 32 or 64."),
    WORDS("engine", "kv", CONF_CHOICE, kv_format, "f16", kv_formats,
          "Keys and values as f16, or as i8: half the memory, nearly the same answers."),
    NUMBER("engine", "max_mem_mib", max_mem_mib, "0", 0, 1 << 24,
           "MiB that weights, KV cache and work memory may take; 0: what is free."),
    { "engine", "seed", CONF_SEED, AT(seed), "0", 0, 0, NULL,
      "Seed of requests that bring none: a whole number, or random for a fresh one each." },
    WORDS("engine", "parity", CONF_BOOL, parity, "no", yes_no,
          "Hold every selected device against scalar-ref before serving (strict always does)."),

    TEXT("plugins", "dir", plugin_dir, "",
         "Folder of kernel plugins; empty: lib/bitnet/plugins beside the program."),
    TEXT("plugins", "only", plugin_only, "",
         "Load this plugin id, and scalar-ref, and no other; empty: all."),
    TEXT("plugins", "linear", pin_linear, "",
         "Plugin id that must do the linear layers; empty: the fastest."),
    TEXT("plugins", "attention", pin_attn, "",
         "Plugin id that must do the attention; empty: the fastest."),
    TEXT("plugins", "pointwise", pin_point, "",
         "Plugin id that must do norms, rope and activations; empty: the fastest."),
    TEXT("plugins", "layers", pin_layers, "",
         "Layers on devices of their own, as in 0-14:org.bitnetd.opencl#0 15:other.id; empty: none."),
    NUMBER("plugins", "threads", n_threads, "0", 0, 1024,
           "Compute threads; 0: one per physical core."),
    WORDS("plugins", "bind", CONF_CHOICE, bind, "auto", bindings,
          "Bind compute threads to cores: yes, no, or auto: where cores or memory are not all alike."),
    TEXT("plugins", "isa", isa, "all",
         "Instruction sets that may be used, as bitnet-plugins names them; all, or baseline."),
    TEXT("plugins", "timings", timings, "",
         "File that keeps what plugins were measured at; empty: in the user's cache; off."),
    TEXT("plugins", "weight_cache", weight_cache, "auto",
         "Folder for prepared weights, for a faster next start; auto: off when strict; off."),
    NUMBER("plugins", "weight_cache_mib", weight_cache_mib, "16384", 1, 1 << 24,
           "MiB that this folder may hold; the least recently used make room."),

    WORDS("strict", "enabled", CONF_BOOL, strict, "no", yes_no,
          "Prove every device equal to scalar-ref before the socket opens; never fall back."),
    WORDS("strict", "determinism", CONF_CHOICE, determinism, "exact", det_classes,
          "The least that a device must promise: exact, stable or bounded."),

    TEXT("trace", "otlp_url", otlp_url, "",
         "Where spans go, as http://127.0.0.1:4318/v1/traces; empty: nowhere."),
    NUMBER("trace", "sample_percent", trace_percent, "100", 0, 100,
           "Share of requests that get a span; where a traceparent came, it decides."),

    REAL("crossval", "min_correlation", cv_min_correlation, "0.999", 0, 1,
         "Least correlation of logits with the reference's, from 0 to 1; 0: not judged."),
    REAL("crossval", "min_top1", cv_min_top1, "0", 0, 1,
         "Least share of positions with the same likeliest token; 0: not judged."),
    REAL("crossval", "min_topk", cv_min_topk, "0", 0, 1,
         "Least share of common tokens among the likeliest; 0: not judged."),
    REAL("crossval", "min_greedy", cv_min_greedy, "0", 0, 1,
         "Least share of the greedy continuation before the first other token; 0: not judged."),
    REAL("crossval", "max_mse", cv_max_mse, "0", 0, 1000000,
         "Largest mean square of differences; 0: not judged."),
    REAL("crossval", "max_difference", cv_max_difference, "0", 0, 1000000,
         "Largest difference of two logits; 0: not judged."),

    WORDS("log", "level", CONF_CHOICE, log_level, "info", levels,
          "Least serious event that is logged: error, warn, info or debug."),
    WORDS("log", "format", CONF_BOOL, log_json, "text", formats,
          "A line per event to standard error: text or json."),
    TEXT("log", "access", access_log, "off",
         "A JSON line per request: off, stderr, or the file that it is appended to."),
    WORDS("log", "prompts", CONF_BOOL, log_prompts, "no", yes_no,
          "The access log shows the requests' bodies, prompts and all."),
};
const unsigned conf_n_key = sizeof conf_key / sizeof *conf_key;

const struct conf_key *conf_key_find(const char *section, const char *key)
{
    for (unsigned i = 0; i < conf_n_key; i++)
        if (!strcmp(conf_key[i].section, section) && !strcmp(conf_key[i].key, key))
            return &conf_key[i];
    return NULL;
}

bool conf_section_known(const char *section)
{
    for (unsigned i = 0; i < conf_n_key; i++)
        if (!strcmp(conf_key[i].section, section))
            return true;
    return false;
}

/* Decimal digits and nothing else. */
static bool parse_u64(const char *s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (!*s)
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return false;
        uint64_t digit = (uint64_t)(*s - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return v <= max;
}

static int set_number(const struct conf_key *k, uint32_t *at, const char *value, struct err *e)
{
    uint64_t v;
    if (!parse_u64(value, k->max, &v) || v < k->min)
        return err_set(e, ERR_ARG, "\"%.64s\" is not a whole number from %u to %u", value,
                       k->min, k->max);
    *at = (uint32_t)v;
    return 0;
}

static int set_real(const struct conf_key *k, double *at, const char *value, struct err *e)
{
    char *end;
    const double v = strtod(value, &end);
    if (end == value || *end || !(v >= k->min) || !(v <= k->max))
        return err_set(e, ERR_ARG, "\"%.64s\" is not a number from %u to %u", value, k->min, k->max);
    *at = v;
    return 0;
}

static int set_seed(struct conf *c, const char *value, struct err *e)
{
    uint64_t v = 0;
    bool random = !strcmp(value, "random");
    if (!random && !parse_u64(value, UINT64_MAX, &v))
        return err_set(e, ERR_ARG, "\"%.64s\" is neither random nor a whole number from 0 to %"
                       PRIu64, value, UINT64_MAX);
    c->seed = v;
    c->seed_random = random;
    return 0;
}

static const struct conf_word *find_word(const struct conf_key *k, const char *value,
                                         struct err *e)
{
    for (const struct conf_word *w = k->word; w->text; w++)
        if (!strcasecmp(w->text, value))
            return w;
    char list[128] = "";
    for (const struct conf_word *w = k->word; w->text; w++) {
        size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", w->text);
    }
    err_set(e, ERR_ARG, "\"%.64s\" is not one of: %s", value, list);
    return NULL;
}

static int set_text(char **at, const char *value, struct err *e)
{
    char *copy = strdup(value);
    if (!copy)
        return err_set(e, ERR_NOMEM, "no memory for the value");
    free(*at);
    *at = copy;
    return 0;
}

int conf_key_set(const struct conf_key *k, struct conf *c, const char *value, struct err *e)
{
    void *at = (char *)c + k->at;
    if (k->type == CONF_NUMBER)
        return set_number(k, at, value, e);
    if (k->type == CONF_REAL)
        return set_real(k, at, value, e);
    if (k->type == CONF_SEED)
        return set_seed(c, value, e);
    if (k->type == CONF_TEXT)
        return set_text(at, value, e);
    const struct conf_word *w = find_word(k, value, e);
    if (!w)
        return ERR_ARG;
    if (k->type == CONF_WORD)
        return set_text(at, w->text, e);
    if (k->type == CONF_BOOL)
        *(bool *)at = w->value != 0;
    else
        *(uint32_t *)at = w->value;
    return 0;
}

static size_t size_of(const struct conf_key *k)
{
    if (k->type == CONF_TEXT || k->type == CONF_WORD)
        return sizeof(char *);
    if (k->type == CONF_REAL)
        return sizeof(double);
    return k->type == CONF_BOOL ? sizeof(bool) : k->type == CONF_SEED ? sizeof(uint64_t)
                                                                      : sizeof(uint32_t);
}

bool conf_key_equal(const struct conf_key *k, const struct conf *a, const struct conf *b)
{
    const void *x = (const char *)a + k->at, *y = (const char *)b + k->at;
    if (k->type == CONF_TEXT || k->type == CONF_WORD)
        return !strcmp(*(char *const *)x, *(char *const *)y);
    return !memcmp(x, y, size_of(k)) && (k->type != CONF_SEED || a->seed_random == b->seed_random);
}

void conf_key_swap(const struct conf_key *k, struct conf *a, struct conf *b)
{
    char x[sizeof(uint64_t)];
    void *p = (char *)a + k->at, *q = (char *)b + k->at;
    memcpy(x, p, size_of(k));
    memcpy(p, q, size_of(k));
    memcpy(q, x, size_of(k));
    if (k->type == CONF_SEED) {
        const bool random = a->seed_random;
        a->seed_random = b->seed_random;
        b->seed_random = random;
    }
}

/* Levenshtein's distance; names longer than any key count as far away. */
static unsigned distance(const char *a, const char *b)
{
    enum { MAX = 95 };
    size_t n = strlen(a), m = strlen(b);
    unsigned row[MAX + 1];
    if (n > MAX || m > MAX)
        return MAX;
    for (unsigned j = 0; j <= m; j++)
        row[j] = j;
    for (unsigned i = 1; i <= n; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= m; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[m];
}

/* A quarter of the letters may be wrong; farther off a guess would mislead. */
static unsigned near_enough(const char *name)
{
    return 1 + (unsigned)(strlen(name) / 4);
}

void conf_nearest_key(const char *section, const char *key, char out[96])
{
    unsigned best = near_enough(key) + 1;
    out[0] = 0;
    for (unsigned i = 0; i < conf_n_key; i++) {
        const struct conf_key *k = &conf_key[i];
        /* The right key under a wrong section counts as one mistake. */
        unsigned d = distance(key, k->key) + (strcmp(section, k->section) ? 1 : 0);
        if (d < best) {
            best = d;
            snprintf(out, 96, "%s.%s", k->section, k->key);
        }
    }
}

void conf_nearest_section(const char *section, char out[96])
{
    unsigned best = near_enough(section) + 1;
    out[0] = 0;
    for (unsigned i = 0; i < conf_n_key; i++) {
        unsigned d = distance(section, conf_key[i].section);
        if (d < best) {
            best = d;
            snprintf(out, 96, "%s", conf_key[i].section);
        }
    }
}

void conf_print_defaults(struct buf *out)
{
    buf_addf(out, "# bitnet.ini - every key of bitnetd at its default.\n"
                  "#\n"
                  "# Stronger than this file: the environment (BITNET_SECTION_KEY, as in\n"
                  "# BITNET_SERVER_PORT) and bitnetd --set section.key=value. A line holds at most\n"
                  "# 190 bytes. A semicolon after a space starts a comment.\n");
    const char *section = "";
    for (unsigned i = 0; i < conf_n_key; i++) {
        const struct conf_key *k = &conf_key[i];
        if (strcmp(section, k->section))
            buf_addf(out, "\n[%s]\n", section = k->section);
        else
            buf_addf(out, "\n");
        buf_addf(out, "# %s\n%s =%s%s\n", k->comment, k->key, *k->def ? " " : "", k->def);
    }
    buf_addf(out, "\n# Options of one plugin go into a section of its own; its documentation names\n"
                  "# them:\n#\n#   [plugin:org.bitnetd.cpu-avx2]\n#   variant = avx2 2-bit\n");
}
