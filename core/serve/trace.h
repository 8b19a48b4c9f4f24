/* trace.h - the identity of a request in a distributed trace: W3C Trace Context.
 *
 * A valid traceparent is continued, anything else counts as absent, as the
 * standard asks. Without one a new trace begins. */
#ifndef BITNET_SERVE_TRACE_H
#define BITNET_SERVE_TRACE_H

#include <stdbool.h>
#include <stddef.h>

struct trace {
    char trace_id[33], span_id[17];   /* lower-case hex; span: ours            */
    char parent_id[17];               /* the caller's span; "": none           */
    bool sampled;                     /* somebody wants to see it              */
};

/* False: not a traceparent; t is left as it was. Sets all but span_id. */
bool trace_parse(struct trace *t, const char *traceparent, size_t n);
/* header NULL or invalid: a new trace, sampled with a chance of percent; else the
 * caller's, sampled as it says. Always a new span. */
void trace_begin(struct trace *, const char *header, unsigned percent);

#endif
