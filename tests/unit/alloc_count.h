/* alloc_count.h - how often this program asked for memory, plugins included.
 *
 * Linked into a test, alloc_count.c stands in front of the C library's
 * allocator (or hooks the sanitizer's) for the whole process. */
#ifndef BITNET_TESTS_ALLOC_COUNT_H
#define BITNET_TESTS_ALLOC_COUNT_H

/* Calls of malloc and its kin by any thread since the program started. */
unsigned long alloc_count(void);

#endif
