/* layer.h - between the OpenCL loader and its driver: counts what is made and
 * given back, and makes things go wrong on request.
 *
 * A layer library (OPENCL_LAYERS) that the test opens too, for these names. */
#ifndef TESTS_OPENCL_LAYER_H
#define TESTS_OPENCL_LAYER_H

#include <stdbool.h>

struct layer {
    long context, queue, buffer, program, kernel, event;    /* alive now     */
    long enqueued;              /* kernels so far                            */
    bool hold;                  /* no event is complete                      */
    int event_state;            /* below 0: what every event says            */
    int enqueue_error;          /* below 0: what the next kernel's call says */
    int buffer_error;           /* below 0: what the next clCreateBuffer says */
};

/* "layer_state" of the library. */
typedef struct layer *layer_state_fn(void);

static inline long layer_alive(const struct layer *l)
{
    return l->context + l->queue + l->buffer + l->program + l->kernel + l->event;
}

#endif
