/* verify.h - every case on the reference and on one device of a plugin, in a
 * process of its own.
 *
 * A plugin under test may crash, hang or end the process. So it runs in a
 * child, and what the parent must know afterwards stands in memory that both
 * see: above all which case was running. */
#ifndef VERIFY_VERIFY_H
#define VERIFY_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VERIFY_MAX_DEV 64

struct verify_opts {
    const char *ref, *plugin;   /* paths                                     */
    const char *const *option;  /* [n_option] "key=value", as host->option   */
    unsigned n_option;          /* gives them to the plugin                  */
    uint64_t isa;               /* what it may see                           */
    uint32_t device;
    const char *filter;         /* a family, the start of an op's name, or   */
                                /* part of a case's line; NULL: everything   */
    bool full, bench, verbose;
    uint64_t seed;              /* added to the seed of every case           */
    unsigned limit_s;           /* a case that takes longer hangs            */
};

struct verify_shared {          /* parent and child                          */
    char doing[320];            /* the case that runs, or what else          */
    char why[320];              /* it could not be opened, and why           */
    uint32_t n_dev;
    char name[VERIFY_MAX_DEV][64];
    unsigned long n_case, n_skipped, n_value, n_finding;
};

/* Loads the plugin, checks its tables as bitnetd does and names its devices
 * into shared; false with a reason in shared->why. In a child. */
bool verify_list(const struct verify_opts *, struct verify_shared *);
/* Runs the cases on opts->device. Findings are lines on standard output. False
 * when the plugin or the reference could not be opened. In a child. */
bool verify_device(const struct verify_opts *, struct verify_shared *);

#endif
