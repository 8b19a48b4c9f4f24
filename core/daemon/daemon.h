/* daemon.h - the pieces that main.c puts in order: what bitnetd holds while it
 * lives, and the steps of its life. Main thread only, except where said. */
#ifndef BITNET_DAEMON_DAEMON_H
#define BITNET_DAEMON_DAEMON_H

#include <limits.h>
#include <stdbool.h>
#include <time.h>

#include "core/base/conf.h"
#include "core/engine/engine.h"
#include "core/engine/forward.h"
#include "core/model/model.h"
#include "core/plug/plug.h"
#include "core/serve/gen_grammar.h"
#include "core/serve/serve.h"

struct daemon_args {
    const char *conf_path;        /* NULL: no file                             */
    const char **set;             /* [n_set] "section.key=value"               */
    unsigned n_set;
    bool check, json;             /* --check, and its findings as JSON         */
};

struct bitnetd {
    struct daemon_args args;
    struct conf conf;
    char model_path[4096], plugin_dir[4096], weight_cache[4096], timings[PATH_MAX];
    char model_id[256];
    struct serve *serve;
    struct plug *plug;
    struct model *model;
    const struct chat_template *chat;   /* NULL: conversations are refused       */
    struct forward *forward;
    struct engine *engine;
    struct gen_grammars *grammars;
    time_t progress_at;           /* of the last line about a long load        */
    bool stalled;                 /* the watchdog said so                      */
    bool quiet;                   /* a check prints findings, and no tables    */
};

/* load.c. conf: the configuration of its four sources, checked for what one key
 * alone cannot tell. find_model, plugins, model and chat look at files; files does
 * all four, the model beside the plugins; weights go onto devices, which takes
 * seconds to minutes. */
int load_conf(const struct bitnetd *, struct conf *out, struct err *);
int load_find_model(struct bitnetd *, struct err *);
int load_plugins(struct bitnetd *, struct err *);
int load_model(struct bitnetd *, struct err *);
int load_chat(struct bitnetd *, struct err *);
int load_files(struct bitnetd *, struct err *);
int load_weights(struct bitnetd *, struct err *);
/* Of these only the devices, without a proof; exclude: a plugin's id, or NULL. */
int load_forward(struct bitnetd *, const char *exclude, struct err *);
int load_engine(struct bitnetd *, struct err *);

/* serving.c */
enum { SERVING_OWN_FILES = 128 };   /* descriptors besides connections, at most */
int serving_bind(struct bitnetd *, struct err *);
/* Takes of fresh, which is only looked at, what serve_reload can take. */
int serving_reload(struct bitnetd *, const struct conf *fresh, struct err *);
int serving_listen_early(struct bitnetd *, struct err *);
/* The model is there: requests are answered from now on. */
void serving_ready(struct bitnetd *);
/* Until a signal (0) or a fault of the engine (its code, err filled). */
int serving_wait(struct bitnetd *, struct err *);
/* Refuses new requests, lets the running ones finish; then says what was done. */
void serving_drain(struct bitnetd *);

/* reload.c: after SIGHUP. Reads the configuration anew and takes of it what can
 * change while requests are served; an error leaves everything as it is. */
void reload(struct bitnetd *);

/* watchdog.c: to be called about twice a second while the engine serves. */
void watchdog_look(struct bitnetd *);

#endif
