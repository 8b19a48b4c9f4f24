/* bitnet.h - what the verbs of the `bitnet` tool share.
 *
 * A verb is a function from its arguments to an exit code: TOOL_OK,
 * TOOL_FAILED or TOOL_USAGE. Results go to standard output, everything else to
 * standard error; an error is one line there, "bitnet: " and an err's text. */
#ifndef BITNET_TOOLS_BITNET_H
#define BITNET_TOOLS_BITNET_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/engine/forward.h"
#include "core/model/model.h"
#include "core/plug/plug.h"

enum { TOOL_OK = 0, TOOL_FAILED = 1, TOOL_USAGE = 2 };

int verb_run(int argc, char **argv);
int verb_chat(int argc, char **argv);
int verb_tokenize(int argc, char **argv);
int verb_logits(int argc, char **argv);
int verb_inspect(int argc, char **argv);
int verb_doctor(int argc, char **argv);
int verb_perplexity(int argc, char **argv);
int verb_crossval(int argc, char **argv);
int verb_bench(int argc, char **argv);
int verb_synth(int argc, char **argv);
int verb_convert(int argc, char **argv);
int verb_load(int argc, char **argv);
int verb_key(int argc, char **argv);

/* ---------------------------------------------------------------- options */

enum opt_kind { OPT_FLAG, OPT_TEXT, OPT_TEXTS, OPT_U32, OPT_U64, OPT_F32, OPT_F64 };

struct opt_texts {                /* an option that may come several times     */
    const char *at[16];
    unsigned n;
};

struct opt {
    const char *name;             /* after "--"; NULL ends a table             */
    char letter;                  /* after "-"; 0: none                        */
    enum opt_kind kind;
    void *to;                     /* bool, const char *, struct opt_texts,     */
                                  /* uint32_t, uint64_t, float or double       */
    const char *arg, *help;       /* for --help                                */
};

enum { USAGE_MAX_TABLE = 5 };

struct usage {
    const char *verb;             /* "run"                                     */
    const char *synopsis;         /* what follows the verb                     */
    const char *about;
    const struct opt *opt[USAGE_MAX_TABLE];      /* NULL ends them             */
};

struct words {                    /* arguments that are no options             */
    const char *at[4];
    unsigned n;
};

/* Reads argv[1..) into the tables' variables. 0 to go on; 1 when --help was
 * printed; ERR_ARG. */
int opt_parse(const struct usage *, int argc, char **argv, struct words *, struct err *);

/* "text", or "json", which is --json said otherwise: --output of some verbs. */
int opt_output(const char *format, struct err *);

/* ---------------------------------------------------------- common options */

struct common {
    const char *model;            /* -m; NULL: the embedded default            */
    const char *i2s_layout, *tl_preset, *pre, *activation;
    const char *plugin, *plugin_dir, *isa;
    uint32_t n_threads;
    bool json;
};

/* A table over static variables: one verb runs in a process. */
extern struct common common;
extern const struct opt common_file[];      /* -m, --json                      */
extern const struct opt common_compute[];   /* plugins, threads                */
extern const struct opt common_reading[];   /* what a file leaves open         */

/* ------------------------------------------------------------------ loading */

enum { LOAD_PAGE_TOK = 16 };      /* tokens in a page of keys and values       */

struct loaded {
    struct plug *plug;
    struct model *model;
    struct forward *forward;
};

/* The one word that may name the model instead of -m. */
int load_word(const char *verb, const struct words *, struct err *);
/* -m, or the default model's path. */
int load_path(char path[PATH_MAX], struct err *);
int load_options(struct model_opts *, struct err *);
/* The model of the common options. */
int load_model(struct loaded *, struct err *);
/* ERR_UNSUPPORTED for a model of embeddings, which goes on with no text. */
int load_is_for_text(const struct loaded *, struct err *);
/* Plugins (unless they are open) and weights, one sequence of n_ctx tokens at
 * most (cut to what the model has), max_tok rows in a step, max_out of them with
 * logits. When all is well the model's warnings go to standard error. */
int load_forward(struct loaded *, uint32_t n_ctx, uint32_t max_tok, uint32_t max_out,
                 struct err *);
/* The same for several sequences: sizes and caches of the conf as given, page
 * size, plugins and progress set here. */
int load_forward_conf(struct loaded *, struct forward_conf *, struct err *);
/* Model and weights go, plugins stay open for the next model. */
void load_unload(struct loaded *);
void load_close(struct loaded *);

/* ------------------------------------------------------------------- output */

/* All of it to standard output, now. */
int put_out(const char *p, size_t n, struct err *);
/* One line of compact JSON; takes j over. NULL counts as out of memory. */
int put_json(json_t *j, struct err *);
/* A JSON string; a byte that is not UTF-8 becomes U+FFFD. */
json_t *json_text(const char *p, size_t n);
/* The same for a C string; NULL is null. */
json_t *json_cstr(const char *s);
/* Control characters, and bytes that are not UTF-8, escaped. */
void put_escaped(struct buf *, const char *p, size_t n);

/* All of a file, or of standard input ("-"); free *text, which may be NULL
 * when there is nothing. */
int read_text(const char *path, char **text, size_t *n, struct err *);
int add_id(struct tokens *, int32_t id, struct err *);
/* "1,2,3", separated by commas or white space. */
int parse_ids(const char *text, size_t n, struct tokens *, struct err *);

/* rc, err as an exit code; the line goes to standard error. A closed pipe is
 * the reader's choice: no line. */
int tool_exit(int rc, const struct err *);

#endif
