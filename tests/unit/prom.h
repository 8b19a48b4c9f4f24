/* prom.h - Prometheus' text format, read strictly, for tests of /metrics. */
#ifndef BITNET_TESTS_PROM_H
#define BITNET_TESTS_PROM_H

#include <stdbool.h>
#include <stddef.h>

enum { PROM_MAX_FAMILY = 128, PROM_MAX_SAMPLE = 1024 };

struct prom_sample {
    char key[256];                /* as written: name{label="value",...}       */
    double value;
};

struct prom {
    struct { char name[96], type[16], help[200]; } family[PROM_MAX_FAMILY];
    unsigned n_family;
    struct prom_sample sample[PROM_MAX_SAMPLE];
    unsigned n_sample;
};

/* NULL, or what is wrong with the text: a family announced twice or not at all,
 * samples of a family apart from each other, a bad label, name or number, the
 * same sample twice, buckets that fall, ascend wrongly or miss +Inf, a count
 * that is not the last bucket. */
const char *prom_read(struct prom *, const char *text);
/* The sample's value, or -1. */
double prom_value(const struct prom *, const char *key);

#endif
