/* describe.h - descriptions of the ABI in words: "2560x6912 t2/tensor". */
#ifndef BITNET_PLUG_DESCRIBE_H
#define BITNET_PLUG_DESCRIBE_H

#include "bitnet_plugin.h"
#include "core/base/buf.h"

void describe_linear(const bnp_weight_desc *, struct buf *out);
void describe_attn(const bnp_attn_desc *, struct buf *out);
void describe_point(const bnp_point_desc *, struct buf *out);

#endif
