/* conf.h - the configuration: one struct, one table of keys.
 *
 * Order of strength, weakest first: the table's defaults, the file, the
 * environment (BITNET_SECTION_KEY, and the aliases BITNET_GGUF, BITNET_SEED,
 * BITNET_DETERMINISTIC, BITNET_STRICT_MODE), --set section.key=value. An
 * unknown key or a bad value is an error that says where it stands. */
#ifndef BITNET_BASE_CONF_H
#define BITNET_BASE_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

struct conf {
    /* [server] */
    char *host;                   /* address, or unix:/path, to listen on      */
    uint32_t port;                /* 0: any free one, printed                  */
    uint32_t http_threads;
    uint32_t max_connections;
    uint32_t max_body_kib;
    uint32_t timeout_s;           /* an idle connection is closed              */
    uint32_t read_timeout_s;      /* a request has so long to arrive           */
    uint32_t max_per_address;     /* connections of one client; 0: any         */
    uint32_t max_header_kib;
    uint32_t max_prompt_tok, max_new_tok;   /* 0: as much as fits              */
    char *keys;                   /* file of API keys; empty: none needed      */
    bool server_open;             /* without keys, beyond loopback: meant      */
    char *tls_cert, *tls_key;     /* PEM files; empty: no TLS                  */
    char *socket_mode;            /* of a Unix socket, octal                   */
    bool sandbox;                 /* only the system calls that serving needs  */
    bool page;                    /* at /                                      */
    char *cors_origin;            /* "", "*", or a list                        */
    uint32_t max_grammars;        /* compiled, in use or kept                  */
    uint32_t drain_s;             /* SIGTERM waits so long for requests        */
    uint32_t deadline_s;          /* a request may take; 0: no limit           */
    uint32_t max_queue_s;         /* a request may wait for a place; 0: any time */
    uint32_t watchdog_s;          /* a call of a device may take so long; 0: any */
    /* [model] */
    char *model_path;             /* file or directory; empty: the default     */
    char *model_name;             /* id in /v1/models; empty: the file's name  */
    uint32_t i2s_layout;          /* 0 a, 1 b, 2 c, 3 rs-inline32, 4 rs-qk256  */
    char *tl_preset;              /* tiles of TL1 and TL2; "auto"              */
    char *pre;                    /* pre-tokenizer; "auto"                     */
    char *activation;             /* "auto", "relu2", "silu", "gelu_tanh"      */
    /* [chat] */
    char *chat_template;          /* name of one; "auto": as the file says     */
    /* [engine] */
    uint32_t n_ctx;               /* 0: the model's                            */
    uint32_t max_seq, row_budget, prefill_chunk, max_queue, max_new_default, draft;
    uint32_t kv_tok, page_tok, kv_format, max_mem_mib;     /* BNP_KV_*         */
    bool prefix_cache;
    uint32_t prefix_cache_mib;    /* 0: all pages that are not needed          */
    uint64_t seed;                /* default seed of requests                  */
    bool seed_random;             /* requests without a seed get a fresh one   */
    bool parity;                  /* check devices against scalar-ref at start */
    /* [plugins] */
    char *plugin_dir;             /* empty: beside the program                 */
    char *plugin_only, *pin_linear, *pin_attn, *pin_point;   /* empty: none    */
    char *pin_layers;             /* "0-14:id#0 15:id": as route.h reads it    */
    uint32_t n_threads;           /* 0: one per physical core                  */
    uint32_t bind;                /* enum topo_bind: 0 auto, 1 yes, 2 no        */
    char *weight_cache;           /* "auto", "off", or a folder                */
    uint32_t weight_cache_mib;
    char *isa;                    /* "all", or a list of what may be used      */
    char *timings;                /* file of measurements; empty: default; off */
    /* [trace] */
    char *otlp_url;               /* where spans go; empty: nowhere            */
    uint32_t trace_percent;       /* of requests that begin a trace            */
    /* [strict] */
    bool strict;
    uint32_t determinism;         /* BNP_DET_*                                 */
    /* [crossval]: limits of `bitnet crossval`; 0: not judged                 */
    double cv_min_correlation, cv_min_top1, cv_min_topk, cv_min_greedy;
    double cv_max_mse, cv_max_difference;
    /* [log] */
    uint32_t log_level;           /* enum log_level                            */
    bool log_json;
    char *access_log;             /* off, stderr, or a file                    */
    bool log_prompts;

    struct conf_option *option;   /* keys of the [plugin:<id>] sections        */
};

/* path NULL: no file. env: environ, or NULL for none. set: "section.key=value"
 * each. Fills the struct or leaves it empty; conf_free is legal either way. */
int conf_load(struct conf *, const char *path, char *const *env, const char *const *set,
              unsigned n_set, struct err *);
/* The same with the file's bytes already in memory; name is for messages. */
int conf_load_mem(struct conf *, const char *text, size_t n, const char *name, char *const *env,
                  const char *const *set, unsigned n_set, struct err *);
void conf_free(struct conf *);

/* [any] The value of a key in [plugin:<id>], or NULL. */
const char *conf_option(const struct conf *, const char *plugin_id, const char *key);
/* Whether both have the same keys in [plugin:<id>] sections. */
bool conf_same_options(const struct conf *, const struct conf *);
/* Every section and key with its default and its comment, as conf/bitnet.ini
 * shows them: a test compares the two. */
void conf_print_defaults(struct buf *out);

#endif
