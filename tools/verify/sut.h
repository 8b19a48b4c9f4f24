/* sut.h - one plugin under test: loaded by path, given a small host of its
 * own, with one open device and stream.
 *
 * The host is unkind within the rules: it runs tasks in a scrambled order,
 * fills memory past the end with NaN patterns, counts every allocation and
 * remembers the last report. */
#ifndef VERIFY_SUT_H
#define VERIFY_SUT_H

#include <stdbool.h>
#include <stdint.h>

#include "bitnet_plugin.h"

#define SUT_MAX_TOK 64
#define SUT_MAX_SEQ 4
#define SUT_MAX_PAGES 64

struct sut_conf {
    const char *const *option;  /* [n_option] "key=value" for host->option   */
    unsigned n_option;
    uint64_t isa;               /* those of this machine that it may see     */
    uint32_t device;            /* its number; SUT_NO_DEVICE: none is opened */
};
#define SUT_NO_DEVICE UINT32_MAX

struct sut {
    const char *path;
    void *dl;
    bnp_plugin api;             /* the plugin's tables, zero beyond their    */
    bnp_device_ops device;      /* struct_size, as a host must read them     */
    bnp_linear_ops linear;
    bnp_attn_ops attn;
    bnp_point_ops point;
    const bnp_plugin *p;        /* &api                                      */
    bnp_host host;
    bnp_topo topo;
    struct sut_conf conf;
    char fault[128];            /* "fault=..." of sut_open_device            */
    const char *fault_option;
    char why[256];              /* the last report, or why it did not open   */
    int why_status;
    unsigned n_report;
    long n_alloc, n_live;       /* allocations made, not yet released        */
    bool absent;                /* nothing to test here: see sut_open_device */
    bnp_device *dev;
    bnp_stream *stream;
    uint64_t scramble;
};

/* False with the reason in why. absent is set when there is no such device, or
 * the plugin needs more instruction sets. */
bool sut_open_as(struct sut *, const char *path, const struct sut_conf *);
/* The same, with a line on stderr. fault, which may be NULL, is the option
 * "fault"; borrowed while the sut is open. */
bool sut_open_device(struct sut *, const char *path, const char *fault, uint64_t isa,
                     uint32_t device);
bool sut_open(struct sut *, const char *path, const char *fault);   /* all, its first */
/* False when the plugin kept memory, or when anybody wrote behind a span. */
bool sut_close(struct sut *);

/* Spans so far that somebody wrote behind. */
unsigned long sut_scribbled(void);
void sut_scribble(void);            /* one more: behind a span of a device   */

/* Memory as the contract promises: on 64 bytes, BNP_SLACK behind it; filled
 * with NaN patterns through and through. Exits when there is none. span_free
 * looks whether what lies behind it is still as it was. */
bnp_span span_new(uint64_t size);
void span_free(bnp_span);
bnp_rows rows_new(uint32_t n_tok, uint32_t cols);
float *row_of(const bnp_rows *, uint32_t r);

/* A step of n_tok rows in one sequence from position pos on, ids from the
 * seed below n_id; every row is an output. */
int sut_step(struct sut *, uint32_t n_tok, uint32_t pos, uint64_t seed, uint32_t n_id);
int32_t sut_step_id(uint64_t seed, uint32_t row, uint32_t n_id);
int sut_step_end(struct sut *);

#endif
