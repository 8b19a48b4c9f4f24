#!/bin/sh
# originals.sh - reads the story model as other programs wrote it.
#
#   tests/golden/originals.sh BUILD DIR
#
# BUILD is a build folder, DIR holds the originals: story-i2_s.gguf,
# story-i2_s-layout-b.gguf (-c), story-tq1_0.gguf, story-tq2_0.gguf,
# story-iq1_bn.gguf, story-iq2_bn.gguf, story-iq2_bn_r4.gguf and
# story-iq2_bn-emb-{q8_0,q6_K,q4_0,q4_K}.gguf. They are too large for the
# repository; golden/formats builds all but q6_K and q4_K itself and knows their
# checksums. Every file must have its checksum, the story model's weights,
# and its bits, or correlate where the embedding is another one.
[ $# = 2 ] || { echo "usage: $0 BUILD DIR" >&2; exit 2; }
build=$(cd "$1" && pwd) && dir=$(cd "$2" && pwd) || exit 2
cd "$(dirname "$0")/../.." && exec "$build/tests/golden/golden_formats" "$dir"
