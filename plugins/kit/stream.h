/* stream.h - the device, its stream, and the step that work belongs to, for
 * plugins that compute on the CPU in the calling thread and the host's workers.
 *
 * A step is a copy of its arrays and a ticket is a counter. All of a step is
 * checked in step_begin, once; what rope, gather and attention read from it
 * later is in range. Signatures and promises are those of bitnet_plugin.h. */
#ifndef BITNET_KIT_STREAM_H
#define BITNET_KIT_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "bitnet_plugin.h"
#include "plugins/kit/span.h"

struct variant;

struct bnp_device {
    const bnp_host *host;
    const struct variant *variant;              /* cpu.h; NULL in scalar-ref */
    uint32_t index;
};

struct bnp_stream {
    bnp_device *dev;
    bnp_limits lim;
    bool in_step;
    uint64_t ticket;
    bnp_step step;              /* its arrays are the copies that follow     */
    int32_t *id, *pos;          /* [max_tok]                                 */
    int32_t *seq_of;            /* [max_tok] the sequence of a row, or -1    */
    int32_t *page;              /* [max_seq][max_pages]                      */
    int32_t *out_row;           /* [max_out]                                 */
    void *own;                  /* what a plugin hangs on it                 */
};

/* The one reason for the status about to be returned, by printf; returns it. */
int kit_fail(bnp_device *, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* BNP_OK inside a step; otherwise reported and BNP_E_INVALID. */
int kit_need_step(bnp_stream *, const char *what);
/* Rows inside their memory; otherwise reported and BNP_E_INVALID. */
int kit_need_rows(bnp_stream *, const char *what, const bnp_rows *);
int kit_need_span(bnp_stream *, const char *what, bnp_span, uint64_t size);

/* A device of the host's memory; index is kept, its range the caller's care. */
int kit_device_open(const bnp_host *, uint32_t index, bnp_device **out);
void kit_device_close(bnp_device *);
extern const bnp_device_ops kit_device_ops;

#endif
