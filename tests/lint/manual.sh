#!/bin/sh
# manual.sh - bitnet.ini(5) describes the keys of conf/bitnet.ini, with their
# defaults, and no others.
. "$(dirname "$0")/lint.sh"

top=$(mktemp -d) || exit 2
trap 'rm -rf "$top"' EXIT
awk '/^\[/ { section = $0; next }
     /^[a-z0-9_]+ *=/ { key = $1; value = $0; sub(/^[^=]*= */, "", value); print section, key, value }' \
    conf/bitnet.ini | LC_ALL=C sort > "$top/conf"
awk '/^\.Ss \[/ { section = $2; next }
     /^\.It Cm [a-z0-9_]+ =/ { value = $0; sub(/^[^=]*= *(Ar )?/, "", value); print section, $3, value }' \
    packaging/man/bitnet.ini.5 | LC_ALL=C sort > "$top/man"
if ! [ -s "$top/conf" ]; then
    echo "conf/bitnet.ini: no keys in it, so nothing was checked" >&2
    exit 1
fi
{
    comm -23 "$top/conf" "$top/man" | sed 's/^/not in bitnet.ini(5): /'
    comm -13 "$top/conf" "$top/man" | sed 's/^/not in conf\/bitnet.ini: /'
} | lint_verdict
