/* private.h - a device with memory of its own, made to look as if it had none.
 *
 * The cases keep all their data in the host's memory. So each span has a twin in
 * the device's memory: what a call reads is copied there before it, what it
 * wrote is copied back after it, and a ticket is waited for. Behind every twin
 * lie bytes that nobody may write. One such device at a time. */
#ifndef VERIFY_PRIVATE_H
#define VERIFY_PRIVATE_H

#include <stdbool.h>

#include "tools/verify/sut.h"

/* Puts itself in front of the tables of s, whose device and stream are open. */
void private_wrap(struct sut *);
/* A span of the host's memory goes: so does its twin. */
void private_forget(const void *base);
/* All twins go, before the stream and the device do. */
void private_end(const struct sut *);

#endif
