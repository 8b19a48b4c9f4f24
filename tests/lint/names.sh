#!/bin/sh
# names.sh - the file name is the prefix: kv.c and kv_page.c define kv_...
#
# Looks at the functions and objects that the rooms of the core show each other.
. "$(dirname "$0")/lint.sh"
lint_skip_instrumented

rooms=$(find "$build/core" -name 'libbitnet_*.a' 2>/dev/null | LC_ALL=C sort)
if [ -z "$rooms" ]; then
    echo "$build/core: no room was built, so nothing was checked" >&2
    exit 1
fi
for room in $rooms; do
    nm -g --defined-only "$room" | awk '
        /^[^ ]*\.o:$/ {
            file = $0; sub(/\.o:$/, "", file)
            stem = file; sub(/\.c$/, "", stem); sub(/_.*/, "", stem)
        }
        NF == 3 && $3 !~ ("^" stem "(_|$)") { print file ": " $3 ": expected the prefix " stem "_" }'
done | lint_verdict
