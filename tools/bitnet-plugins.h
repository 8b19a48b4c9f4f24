/* bitnet-plugins.h - what the verbs of bitnet-plugins share. */
#ifndef TOOLS_BITNET_PLUGINS_H
#define TOOLS_BITNET_PLUGINS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/conf.h"
#include "core/base/err.h"
#include "core/plug/plug.h"
#include "core/plug/route.h"

enum { EXIT_DIFFERS = 1, EXIT_USAGE = 2, EXIT_NOT_LOADABLE = 3 };

#define MAX_VALUES 64             /* of an option that may be repeated         */

struct args {
    const char *verb, *dir, *conf, *model, *ref, *filter, *isa, *file;
    const char *set[MAX_VALUES], *option[MAX_VALUES];
    unsigned n_set, n_option;
    uint64_t seed;
    uint32_t limit_s;             /* 0: the default                            */
    bool json, fast, full, bench, verbose, quiet;
};

int plugins_list(const struct args *);
int plugins_explain(const struct args *, bool measure_anew);    /* explain, bench */
int plugins_verify(const struct args *);

/* The configuration and what it says about plugins. conf_free is legal after a
 * failure. */
int plugins_conf(const struct args *, struct conf *, struct plug_opts *, struct err *);
/* One line on standard error; 1. */
int complain(const struct err *);
/* 0, or 1 after a line, when something could not be written. */
int close_output(int rc);

json_t *isa_json(uint64_t mask);
/* JSON has text only; a file's name may be any bytes. */
json_t *text_json(const char *s);

#endif
