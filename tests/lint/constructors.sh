#!/bin/sh
# constructors.sh - loading a plugin runs no code.
#
# No constructor, no _init, no indirect function (its resolver runs while the
# file is relocated). Plugins are linked without the start files of the
# compiler, so even the harmless frame_dummy is a finding.
. "$(dirname "$0")/lint.sh"
lint_skip_instrumented

plugins=$(lint_plugins) || exit 1
for so in $plugins; do
    readelf -SW "$so" | awk -v so="$so" '
        match($0, /\] *\.(preinit_array|init_array|fini_array|ctors|dtors|init|fini)[. ]/) {
            s = substr($0, RSTART + 1, RLENGTH - 1); gsub(/ /, "", s)
            print so ": section " s ": code that runs at load or unload" }'
    readelf -dW "$so" | awk -v so="$so" '
        /\((INIT|FINI|INIT_ARRAY|FINI_ARRAY|PREINIT_ARRAY)\)/ { print so ": dynamic entry " $2 }'
    readelf -rW "$so" | awk -v so="$so" '
        /_IRELATIV/ { print so ": an indirect function: " $0 }'
    readelf -sW "$so" | awk -v so="$so" '
        $4 == "IFUNC" { print so ": an indirect function: " $8 }'
done | lint_verdict
