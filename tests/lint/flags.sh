#!/bin/sh
# flags.sh - every compile line keeps the arithmetic contract.
#
# No flag that lets a compiler change a floating-point result; contraction off
# for the core, the tools and the plugins; the baseline instruction set for the
# core and for the file a plugin is entered by; scalar-ref plain -O2.
. "$(dirname "$0")/lint.sh"

db=$build/compile_commands.json
if ! [ -s "$db" ]; then
    echo "$db: no compile commands, so nothing was checked" >&2
    exit 1
fi
instrumented=0
if grep -q -e '-fsanitize=' -e '--coverage' "$db"; then
    instrumented=1
fi

{
awk -v root="$(pwd)/" -v instrumented=$instrumented '
function bad(what) { print file ": " what }
/^ *"command":/ { command = $0; sub(/^ *"command": *"/, "", command); sub(/",? *$/, "", command) }
/^ *"file":/ {
    file = $0; sub(/^ *"file": *"/, "", file); sub(/",? *$/, "", file)
    if (index(file, root) == 1)
        file = substr(file, length(root) + 1)
    check()
}
function check(   arg, n, i, contract, optimise, m, ours) {
    ours = file ~ /^(core|plugins|tools)\//
    n = split(command, arg, / +/)
    contract = ""; optimise = ""; m = ""
    for (i = 1; i <= n; i++) {
        if (arg[i] ~ /^-(ffast-math|Ofast|funsafe-math-optimizations|ffinite-math-only|fassociative-math|freciprocal-math|fno-signed-zeros|fsingle-precision-constant|fapprox-func|ffp-model=.*|fdenormal-fp-math=.*|mrecip.*|mdaz-ftz|mfpmath=387|march=native|mcpu=native|mtune=native)$/)
            bad(arg[i] " changes results or ties the build to this machine")
        if (arg[i] ~ /^-ffp-contract=/) contract = arg[i]
        if (arg[i] ~ /^-O/) optimise = arg[i]
        if (arg[i] ~ /^-m[a-z]/) m = m " " arg[i]
    }
    if (!ours)
        return
    n_ours++
    if (contract != "-ffp-contract=off")
        bad("compiled without -ffp-contract=off")
    for (i = 1; i <= n_must; i++)
        if (!index(" " command " ", " " must[i] " "))
            bad("compiled without " must[i])
    if (m != "" && (file !~ /^plugins\// || file ~ /^plugins\/(scalar-ref|skeleton)\// || file ~ /\/plugin\.c$/))
        bad("must run on every machine of its architecture, but has" m)
    if (file ~ /^plugins\/scalar-ref\// && !instrumented && optimise != "-O2")
        bad("scalar-ref is built with -O2, not " optimise)
}
BEGIN { n_must = split("-Wall -Wextra -Wshadow -Wconversion -std=c11", must, " ") }
END { if (!n_ours) print FILENAME ": no file of the project in it" }
' "$db"

find core plugins tools -name '*.[ch]' | LC_ALL=C sort | xargs awk '
/#[ \t]*pragma[ \t]+(GCC[ \t]+optimize|clang[ \t]+fp|float_control|fp_contract)/ ||
/FP_CONTRACT[ \t]+(ON|DEFAULT)/ || /__attribute__[ \t]*\(\([ \t]*_*optimize/ {
    printf "%s:%d: changes floating-point rules or optimisation inside a file\n", FILENAME, FNR }'
} | lint_verdict
