/* bitnet-plugins.c - the command line, and what its verbs share.
 *
 *   list      what is in the plugin directory (bitnet-plugins_list.c)
 *   explain   who would do what of a model, and why; bench: measured anew
 *   verify    one plugin's bits against the reference's */
#include "tools/bitnet-plugins.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/plug/isa.h"

static const char usage[] =
    "usage: bitnet-plugins list [--json] [--fast] [--dir DIR] [--conf FILE]\n"
    "       bitnet-plugins explain [-m MODEL] [--json] [--dir DIR] [--conf FILE]\n"
    "                      [--set section.key=value]...\n"
    "       bitnet-plugins bench   the same\n"
    "       bitnet-plugins verify [--full] [--filter WHAT] [--bench] [--isa LIST]\n"
    "                      [--seed S] [--ref FILE] [--dir DIR] [--option key=value]...\n"
    "                      [--limit SECONDS] [-v | --quiet] PLUGIN.so\n"
    "       bitnet-plugins --help | --version\n"
    "\n"
    "list     every plugin file: id, version, ABI, kind, families with their\n"
    "         determinism, state, and why a file was rejected\n"
    "explain  who would do what of a model: each candidate's times, beside what\n"
    "         this machine can do at most, and why each loser lost\n"
    "bench    explain, with everything measured anew\n"
    "verify   the plugin's answers against scalar-ref's, bit by bit, on each of\n"
    "         its devices and with each instruction set left out\n"
    "\n"
    "  --json       one JSON object with every field\n"
    "  --dir DIR    plugins are there (default: lib/bitnet/plugins beside bin)\n"
    "  --conf FILE  configuration; --set is stronger, as for bitnetd\n"
    "  --fast       do not ask for known answers, do not choose\n"
    "  -m MODEL     a GGUF file or Hugging Face directory (default: as bitnetd)\n"
    "  --full       also the shapes of published models\n"
    "  --filter W   a family (linear, attn, point), an op (mul, topk, attend...)\n"
    "               or part of a case's line\n"
    "  --bench      a line for each case, with the times of its ops\n"
    "  --isa LIST   only with these instruction sets\n"
    "  --seed S     other numbers of the same shapes\n"
    "  --ref FILE   the reference (default: scalar-ref.so of the directory)\n"
    "  --limit N    seconds for one case, then it hangs (default 300)\n"
    "  --option     key=value that the plugin gets from its configuration\n"
    "  -v           a line for each case; --quiet: no line at the end\n"
    "\n"
    "Exit status of list: 0 when the reference plugin is usable, else 1. Of verify:\n"
    "0 all equal, 1 something is wrong, 3 not loadable here. 2: wrong command line.\n";

int complain(const struct err *e)
{
    fprintf(stderr, "bitnet-plugins: %s\n", e->text);
    return 1;
}

int close_output(int rc)
{
    if (!rc && !fflush(stdout) && !ferror(stdout))
        return 0;
    fprintf(stderr, "bitnet-plugins: cannot write the answer: standard output is not writable or "
            "memory is short\n");
    return 1;
}

static const char *option(void *ctx, const char *id, const char *key)
{
    return conf_option(ctx, id, key);
}

int plugins_conf(const struct args *a, struct conf *conf, struct plug_opts *o, struct err *e)
{
    static char dir[PATH_MAX];
    uint64_t isa;
    *o = (struct plug_opts){ 0 };
    memset(conf, 0, sizeof *conf);
    const int rc = conf_load(conf, a->conf, environ, a->set, a->n_set, e);
    if (rc)
        return rc;
    log_setup((enum log_level)conf->log_level, conf->log_json);
    if (isa_parse(conf->isa, &isa))
        return err_set(e, ERR_ARG, "[plugins] isa = %s: expected \"all\", or names as \"baseline "
                       "avx2\"", conf->isa);
    *o = (struct plug_opts){
        .dir = a->dir ? a->dir : conf->plugin_dir, .n_threads = conf->n_threads,
        .bind = (enum topo_bind)conf->bind, .isa_mask = isa, .only = conf->plugin_only,
        .option = option,
        .option_ctx = conf,
    };
    if (!o->dir || !o->dir[0]) {
        (void)plug_default_dir(dir, sizeof dir);      /* what is not there is said later */
        o->dir = dir;
    }
    return 0;
}

/* ---------------------------------------------------------- the command line */

enum { LIST = 1, EXPLAIN = 2, VERIFY = 4 };

static const struct {
    const char *name;
    unsigned verb;
} verbs[] = {
    { "list", LIST }, { "explain", EXPLAIN }, { "bench", EXPLAIN }, { "verify", VERIFY },
};

static const struct {
    struct option o;
    unsigned verbs;
} opts[] = {
    { { "json", no_argument, NULL, 'j' }, LIST | EXPLAIN },
    { { "fast", no_argument, NULL, 'f' }, LIST },
    { { "dir", required_argument, NULL, 'd' }, LIST | EXPLAIN | VERIFY },
    { { "conf", required_argument, NULL, 'c' }, LIST | EXPLAIN },
    { { "set", required_argument, NULL, 's' }, LIST | EXPLAIN },
    { { "model", required_argument, NULL, 'm' }, EXPLAIN },
    { { "full", no_argument, NULL, 'F' }, VERIFY },
    { { "filter", required_argument, NULL, 'w' }, VERIFY },
    { { "bench", no_argument, NULL, 'b' }, VERIFY },
    { { "isa", required_argument, NULL, 'i' }, VERIFY },
    { { "seed", required_argument, NULL, 'S' }, VERIFY },
    { { "ref", required_argument, NULL, 'r' }, VERIFY },
    { { "option", required_argument, NULL, 'o' }, VERIFY },
    { { "limit", required_argument, NULL, 'l' }, VERIFY },
    { { "verbose", no_argument, NULL, 'v' }, VERIFY },
    { { "quiet", no_argument, NULL, 'q' }, VERIFY },
    { { "help", no_argument, NULL, 'h' }, 0 },
    { { "version", no_argument, NULL, 'V' }, 0 },
};
#define N_OPT (sizeof opts / sizeof opts[0])

static bool add_value(const char *list[MAX_VALUES], unsigned *n, const char *value)
{
    if (*n == MAX_VALUES)
        return false;
    list[(*n)++] = value;
    return true;
}

static bool number(const char *text, uint64_t *v)
{
    char *end;
    errno = 0;
    *v = strtoull(text, &end, 0);
    return *text && *text != '-' && !*end && !errno;
}

static bool seconds(uint32_t *s)
{
    uint64_t v;
    const bool ok = number(optarg, &v) && v && v <= 86400;
    *s = ok ? (uint32_t)v : 0;
    return ok;
}

/* One option; false when its value is impossible. */
static bool take(struct args *a, int c)
{
    switch (c) {
    case 'j': a->json = true; return true;
    case 'f': a->fast = true; return true;
    case 'd': a->dir = optarg; return true;
    case 'c': a->conf = optarg; return true;
    case 's': return add_value(a->set, &a->n_set, optarg);
    case 'm': a->model = optarg; return true;
    case 'F': a->full = true; return true;
    case 'w': a->filter = optarg; return true;
    case 'b': a->bench = true; return true;
    case 'i': a->isa = optarg; return true;
    case 'S': return number(optarg, &a->seed);
    case 'r': a->ref = optarg; return true;
    case 'l': return seconds(&a->limit_s);
    case 'o': return strchr(optarg, '=') && add_value(a->option, &a->n_option, optarg);
    case 'v': a->verbose = true; return true;
    case 'q': a->quiet = true; return true;
    default: return false;
    }
}

/* The verb's bits, 0 for none; used: those of the options that were given. */
static unsigned find_verb(struct args *a, int argc, char **argv, const bool used[N_OPT])
{
    unsigned verb = 0;
    if (optind >= argc)
        return 0;
    a->verb = argv[optind];
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (!strcmp(verbs[i].name, a->verb))
            verb = verbs[i].verb;
    for (size_t i = 0; i < N_OPT; i++)
        if (used[i] && !(opts[i].verbs & verb))
            return 0;
    if (optind + 1 + (verb == VERIFY) != argc)
        return 0;
    a->file = verb == VERIFY ? argv[optind + 1] : NULL;
    return verb;
}

int main(int argc, char **argv)
{
    struct option long_opts[N_OPT + 1] = { { 0 } };
    bool used[N_OPT] = { false };
    struct args a = { 0 };
    for (size_t i = 0; i < N_OPT; i++)
        long_opts[i] = opts[i].o;
    for (int c; (c = getopt_long(argc, argv, "hvm:", long_opts, NULL)) != -1;) {
        if (c == 'h') {
            fputs(usage, stdout);
            return 0;
        }
        if (c == 'V') {
            printf("bitnet-plugins %s, ABI %u.%u\n", BITNET_VERSION, BNP_ABI_MAJOR, BNP_ABI_MINOR);
            return 0;
        }
        for (size_t i = 0; i < N_OPT; i++)
            used[i] = used[i] || opts[i].o.val == c;
        if (!take(&a, c)) {
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    switch (find_verb(&a, argc, argv, used)) {
    case LIST:
        return plugins_list(&a);
    case EXPLAIN:
        return plugins_explain(&a, !strcmp(a.verb, "bench"));
    case VERIFY:
        return plugins_verify(&a);
    default:
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
}
