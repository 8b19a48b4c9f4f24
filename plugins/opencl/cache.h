/* cache.h - compiled kernels and group sizes in a file, by device and driver. */
#ifndef OPENCL_CACHE_H
#define OPENCL_CACHE_H

#include "ocl.h"

/* The binary that belongs to this device, these flags and this source, and
 * o->tune with it, when it holds some; NULL: none that is whole. Give it back
 * with cache_free. */
unsigned char *cache_read(struct ocl_device *, const char *flags, size_t *size);
void cache_free(struct ocl_device *, unsigned char *binary);
/* Also o->tune. What goes wrong is a line in the log: it only costs time. */
void cache_write(struct ocl_device *, const char *flags, const unsigned char *binary, size_t size);

#endif
