/* bitnet_bench.c - `bitnet bench`: how fast a model runs here, beside what this
 * machine can do.
 *
 * The forward pass and the sampler are called as the engine calls them, without
 * the engine. The machine's read bandwidth and its peak of byte multiply-adds
 * are measured in the same run, so that a row's share of its limit means
 * something on a machine that others use too. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/plug/workers.h"
#include "tools/bitnet.h"
#include "tools/bitnet_bench.h"

enum { MAX_CHUNK = 1 << 14, MAX_REP = 1000, MAX_DEPTH = 1 << 24 };

static struct bench_ask ask = { .n_prompt = 512, .n_gen = 128, .n_rep = 5, .chunk = 256 };
static const char *batches = "1", *depths = "0", *format_name = "md", *kv = "f16";
static const char *weight_cache, *timings, *commit;

static const struct opt options[] = {
    { "model", 'm', OPT_TEXT, &common.model, "PATH",
      "GGUF file or Hugging Face directory (default: the embedded model)" },
    { "n-prompt", 'p', OPT_U32, &ask.n_prompt, "N", "tokens of a prompt; 0: none (default 512)" },
    { "n-gen", 'n', OPT_U32, &ask.n_gen, "N", "tokens to decode; 0: none (default 128)" },
    { "batch", 'b', OPT_TEXT, &batches, "LIST", "sequences decoded together: 1,2,4 (default 1)" },
    { "depth", 'd', OPT_TEXT, &depths, "LIST", "tokens that are there before (default 0)" },
    { "reps", 'r', OPT_U32, &ask.n_rep, "R", "repetitions, after an untimed one (default 5)" },
    { "chunk", 0, OPT_U32, &ask.chunk, "N", "rows in a step of a prompt (default 256)" },
    { "kv", 0, OPT_TEXT, &kv, "f16|i8", "how keys and values are kept (default f16)" },
    { "all-logits", 0, OPT_FLAG, &ask.all_logits, NULL, "compute every logit, not the largest" },
    { "weight-cache", 0, OPT_TEXT, &weight_cache, "DIR", "keep prepared weights here" },
    { "timings", 0, OPT_TEXT, &timings, "FILE", "keep here what plugins were measured at" },
    { "output", 'o', OPT_TEXT, &format_name, "FORMAT", "md, csv, json or jsonl (default md)" },
    { "commit", 0, OPT_TEXT, &commit, "TEXT", "recorded with the results" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct usage usage = {
    "bench", "[-m FILE] [OPTION]...",
    "Measures prompt processing (pp) and decoding (tg) in tokens a second, and the\n"
    "machine's limits beside them.",
    { options, common_compute, common_reading }
};

static int parse_list(const char *name, const char *arg, uint32_t least, uint32_t most,
                      struct bench_list *list, struct err *e)
{
    const char *p = arg;
    list->n = 0;
    do {
        char *end;
        const unsigned long v = *p >= '0' && *p <= '9' ? strtoul(p, &end, 10) : ULONG_MAX;
        if (v < least || v > most || (*end && *end != ',') || list->n == BENCH_LIST)
            return err_set(e, ERR_ARG, "--%s: %.60s, expected up to %d whole numbers from %u to "
                           "%u, with commas between them", name, arg, BENCH_LIST, least, most);
        list->at[list->n++] = (uint32_t)v;
        p = *end ? end + 1 : NULL;
    } while (p);
    return 0;
}

static int parse_format(enum bench_format *f, struct err *e)
{
    static const char *const name[] = { "md", "csv", "json", "jsonl" };
    for (unsigned i = 0; i < sizeof name / sizeof *name; i++)
        if (!strcmp(format_name, name[i])) {
            *f = (enum bench_format)i;
            return 0;
        }
    return err_set(e, ERR_ARG, "--output: %.60s, expected md, csv, json or jsonl", format_name);
}

static int check_ask(struct err *e)
{
    if (!ask.n_prompt && !ask.n_gen)
        return err_set(e, ERR_ARG, "bench: nothing to measure, expected tokens for --n-prompt or "
                       "--n-gen");
    if (!ask.n_rep || ask.n_rep > MAX_REP)
        return err_set(e, ERR_ARG, "--reps: %u, expected 1 to %d", ask.n_rep, MAX_REP);
    if (!ask.chunk || ask.chunk > MAX_CHUNK)
        return err_set(e, ERR_ARG, "--chunk: %u, expected 1 to %d", ask.chunk, MAX_CHUNK);
    if (strcmp(kv, "f16") && strcmp(kv, "i8"))
        return err_set(e, ERR_ARG, "--kv: %.60s, expected f16 or i8", kv);
    return 0;
}

/* ------------------------------------------------------------------ running */

static int load(struct loaded *l, struct err *e)
{
    const uint64_t n_ctx = bench_positions(&ask);
    const uint32_t n_seq = bench_max_seq(&ask);
    int rc = load_model(l, e);
    if (rc)
        return rc;
    if (n_ctx > l->model->hp.n_ctx)
        return err_set(e, ERR_ARG, "bench: %llu positions are asked for, the model has %u: lower "
                       "--depth, --n-prompt or --n-gen", (unsigned long long)n_ctx,
                       l->model->hp.n_ctx);
    /* The largest depth for every sequence, and the prompt, which one has. */
    const uint64_t pages = (n_ctx + LOAD_PAGE_TOK - 1) / LOAD_PAGE_TOK;
    const uint64_t kv_tok = pages * LOAD_PAGE_TOK * n_seq;
    if (kv_tok > INT32_MAX)
        return err_set(e, ERR_ARG, "bench: %llu tokens of keys and values, expected at most %d: "
                       "lower --batch or --depth", (unsigned long long)kv_tok, INT32_MAX);
    struct forward_conf c = {
        .n_ctx = (uint32_t)n_ctx, .max_tok = ask.chunk > n_seq ? ask.chunk : n_seq,
        .max_seq = n_seq, .max_out = n_seq, .kv_tok = (uint32_t)kv_tok,
        .kv_format = strcmp(kv, "i8") ? BNP_KV_F16 : BNP_KV_I8,
        .weight_cache = weight_cache, .weight_cache_size = UINT64_MAX,
        .route = { .timings = timings }
    };
    rc = load_forward_conf(l, &c, e);
    return rc == ERR_LIMIT ? err_prefix(e, "bench: lower --batch, --depth or --n-gen") : rc;
}

static void say(const struct bench_row *r, uint32_t n_rep)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "bitnet: %s, batch %u: %.2f tokens/s, %u repetitions\n", r->name, r->n_seq,
                (double)r->n_tok * r->n_seq / r->s, n_rep);
}

static int measure(struct bench *b, struct bench_row *row, unsigned *n, struct err *e)
{
    int rc = 0;
    *n = 0;
    for (unsigned d = 0; d < ask.depth.n && !rc; d++) {
        const uint32_t depth = ask.depth.at[d];
        rc = bench_fill(b, depth, e);
        if (!rc && ask.n_prompt) {
            rc = bench_prompt(b, depth, &row[(*n)++], e);
            if (!rc)
                say(&row[*n - 1], ask.n_rep);
        }
        for (unsigned i = 0; i < ask.n_seq.n && !rc && ask.n_gen; i++) {
            rc = bench_decode(b, depth, ask.n_seq.at[i], &row[(*n)++], e);
            if (!rc)
                say(&row[*n - 1], ask.n_rep);
        }
    }
    return rc;
}

static int bench(enum bench_format format, struct bench_run *u, struct err *e)
{
    static struct bench_row row[BENCH_LIST * (BENCH_LIST + 1)];
    struct loaded l = { 0 };
    struct bench b = { 0 };
    unsigned n = 0;
    const double start = clock_s();
    int rc = load(&l, e);
    u->load_s = clock_s() - start;
    if (!rc)
        rc = bench_open(&b, l.forward, &ask, e);
    if (!rc) {
        workers_bind_caller(l.plug->workers);
        workers_float_env();
        rc = measure(&b, row, &n, e);
    }
    u->rss_mib = bench_rss_mib(&b);
    if (!rc)
        rc = bench_print(format, &l, u, row, n, e);
    if (b.ask)
        bench_close(&b);
    load_close(&l);
    return rc;
}

/* The command as it was given, quoted where a shell would need it. */
static char *command_of(int argc, char **argv)
{
    struct buf b = { 0 };
    buf_addf(&b, "bitnet");
    for (int i = 0; i < argc; i++) {
        const bool plain = argv[i][0] && !strpbrk(argv[i], " \t\n\"'\\$`*?;&|<>()[]{}~#!");
        buf_addf(&b, plain ? " " : " '");
        for (const char *c = argv[i]; *c; c++)
            buf_addf(&b, *c == '\'' ? "'\\''" : "%c", *c);
        buf_addf(&b, plain ? "" : "'");
    }
    if (b.failed)
        buf_free(&b);
    return b.p;
}

int verb_bench(int argc, char **argv)
{
    struct err e = { 0 };
    struct words w;
    enum bench_format format = BENCH_MD;
    struct bench_run u = { 0 };
    int rc = opt_parse(&usage, argc, argv, &w, &e);
    if (rc)
        return tool_exit(rc, &e);
    if (w.n)
        rc = err_set(&e, ERR_ARG, "bench: %.100s: unexpected, a model is given with --model",
                     w.at[0]);
    if (!rc)
        rc = check_ask(&e);
    if (!rc)
        rc = parse_list("batch", batches, 1, UINT16_MAX - 1, &ask.n_seq, &e);
    if (!rc)
        rc = parse_list("depth", depths, 0, MAX_DEPTH, &ask.depth, &e);
    if (!rc)
        rc = parse_format(&format, &e);
    u.commit = commit;
    if (!rc && !(u.command = command_of(argc, argv)))
        rc = err_set(&e, ERR_NOMEM, "bench: no memory for its command");
    if (!rc)
        rc = bench(format, &u, &e);
    free(u.command);
    return tool_exit(rc, &e);
}
