/* device.h - the devices of a loaded plugin: opened, checked, tested. */
#ifndef BITNET_PLUG_DEVICE_H
#define BITNET_PLUG_DEVICE_H

#include "core/base/err.h"
#include "core/plug/plug.h"

#define DEVICE_MAX 64u            /* devices of one plugin                     */

/* Opens every device of p, which got its host services, and adds those that
 * pass to plug->dev; scalar-ref's becomes plug->ref instead. What a device
 * fails on goes to p->reason. An error when there are devices and none works. */
int device_open_all(struct plug *plug, struct plug_entry *p, bool test, struct err *);
void device_close(struct dev *);

#endif
