#!/bin/bash
# plugins.sh - `bitnet-plugins` as its users meet it: verify finds what is wrong
# and is silent about what is right, explain and bench say who would do what.
#
#   plugins.sh BUILD
#
# shellcheck disable=SC2034,SC2154   # server_lib.sh reads build, sets bitnet, top
set -u
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh
rm -f "$XDG_CACHE_HOME/bitnet/timings"              # nothing was measured before

tool=$build/bin/bitnet-plugins
ref=$build/lib/bitnet/plugins/scalar-ref.so
test_plugin() { echo "$build/tests/plugins/$1/$1.so"; }
faulty=$(test_plugin faulty)

run()
{
    "$tool" "$@" > "$top/out" 2> "$top/err" < /dev/null
    status=$?
}

verify() { run verify --ref "$ref" "$@"; }

# ---- verify: what is right ----

verify --filter " 17 keys, " "$faulty"
same "verify: equal bits are exit 0 and no finding" "0 0" "$status $(wc -l < "$top/out")"
same "verify: one line says what was done" 1 "$(grep -c 'cases.*: all equal$' "$top/err")"
verify --quiet --filter rope "$ref"
same "verify --quiet: not a word" "0 0" "$status $(cat "$top/out" "$top/err" | wc -c)"
verify --filter "3 x 65," -v "$faulty"
same "verify --filter: part of a case's line" "0 0" "$status $(grep -vc '3 x 65,.*: equal$' "$top/out")"
same "verify -v: a line for each case" "$(sed -n 's/.* run, \([0-9]*\) cases.*/\1/p' "$top/err")" \
    "$(wc -l < "$top/out")"
cp "$top/out" "$top/seed0"
verify --filter "3 x 65," -v --seed 1000 "$faulty"
if cmp -s "$top/out" "$top/seed0"; then not_ok "verify --seed: other cases"
else ok "verify --seed: other cases"; fi
verify --filter "3 x 65," --bench "$faulty"
same "verify --bench: times on the same line" "0 0" \
    "$status $(grep -vc ': equal; mul [0-9.]* us, reference [0-9.]* us ([0-9.]*x)' "$top/out")"
verify --full --filter "T2 tensor scale (0), 34 x 2560, 4 rows" "$faulty"
same "verify --full: the shapes of published models" "0 1" \
    "$status $(grep -c '[1-9][0-9]* cases' "$top/err")"
verify --filter rope --isa baseline "$faulty"
same "verify --isa" 0 "$status"

# ---- verify: each fault, by name ----

while IFS=: read -r fault filter want; do
    verify --option "fault=$fault" --filter "$filter" "$faulty"
    if [ "$status" -eq 1 ] && head -n 1 "$top/out" | grep -q "isa.*: $want.* seed [0-9]*$"; then
        ok "verify catches $fault"
    else
        not_ok "verify catches $fault" "exit $status" "$(head -n 2 "$top/out")"
    fi
done <<'FAULTS'
ternary-bit:T2 row:mul: row [0-9]* column [0-9]*: [0-9a-f]* (.*), reference
dense-bit:BF16:mul: row [0-9]* column [0-9]*:
topk-id:T2 row:topk ids: row 0 column 0: [0-9]*, reference [0-9]*
attend-bit: 17 keys, :attend
norm-bit:rmsnorm:rmsnorm: row
nan:T2 row:mul: row 0 column 0: 7fc00000 (nan), reference
scribble:T2 row:bytes behind the end of a span
device-lost-at-step-5:point:step_begin: status -7: fault device-lost
FAULTS
verify --option fault=norm-bit --filter rope "$faulty"
same "verify --filter: an op looks at that op" 0 "$status"

verify --option fault=crash --filter point --quiet "$faulty"
same "verify: a crash is a finding, with its case" "1 1" \
    "$status $(grep -c 'device 0, .*: point [0-9]* rows of' "$top/out")"
verify --option fault=hang --filter point --limit 1 --quiet "$faulty"
same "verify: a hang is a finding, with its case" "1 1" \
    "$status $(grep -c 'device 0, no end after 1 s: point' "$top/out")"

# ---- verify: what cannot be loaded ----

for name in wrong-abi no-note note-differs no-symbol needs-isa missing-family-fn; do
    verify "$(test_plugin $name)"
    same "verify: $name is exit 3 and one line" "3 1" "$status $(wc -l < "$top/err")"
done
verify --option fault=open-fails "$faulty"
same "verify: no device opens" "3 1" "$status $(grep -c 'no device today$' "$top/err")"
verify /dev/null
same "verify: no plugin at all" "3 1" "$status $(wc -l < "$top/err")"
run verify --ref /nonexistent.so "$faulty"
same "verify: no reference" "3 1" "$status $(grep -c -- '--ref' "$top/err")"
verify "$(test_plugin crash-on-load)"
same "verify: what it calls is seen before it is loaded" 3 "$status"
if nm -D "$(test_plugin crash-on-load)" 2> /dev/null | grep -q '__asan_\|__tsan_\|__ubsan_\|__gcov_'
then
    ok "verify: instrumented, so calls are not judged"
else
    same "verify: abort and a constructor are findings" 2 \
        "$(grep -c 'calls abort, which\|has code that runs when it is loaded' "$top/out")"
fi

# ---- explain and bench ----

mkdir -m 755 "$top/plugins"
cp "$ref" "$faulty" "$top/plugins"
chmod 755 "$top/plugins/"*
explain() { run "$1" --dir "$top/plugins" -m models/story.gguf "${@:2}"; }
explain explain
same "explain: exit 0 and a chosen device for each question" "0 0" \
    "$status $(awk '/^(linear|attention|pointwise) /{q++} /^  \* /{c++} END{print q-c}' "$top/out")"
same "explain: the machine's limits" 1 \
    "$(grep -c '^limits: [0-9.]* GB/s read from memory, [0-9.]* TOPS of bytes (' "$top/out")"
same "explain: every candidate has times" "$(grep -c '^  [*-] ' "$top/out")" \
    "$(grep -c '^  [*-] .*: cost [0-9.]* us' "$top/out")"
if grep -q '^  - .*: cost .* us: costs [0-9.]* times as much: .* at 1 row' "$top/out" ||
        grep -q '^  - .*not clearly faster' "$top/out"; then
    ok "explain: why a loser lost"
else
    not_ok "explain: why a loser lost" "$(head -n 20 "$top/out")"
fi
same "explain: nothing was kept before" 0 "$(grep -c '(kept)' "$top/out")"
cp "$top/out" "$top/first"
explain explain --json
same "explain --json: what was not disturbed was kept" \
    "$(awk '/^  [*-] /{if (n++) print c; c = "true"} /disturbed/{c = "false"} END{print c}' "$top/first")" \
    "$(jq '.questions[].candidates[].kept' "$top/out")"
same "explain --json: one row is bytes per second, many are operations" "true" \
    "$(jq '[.questions[] | select(.family == "linear") | .candidates[] | .times |
        .[0].gb_per_s > 0 and .[0].tops == null and .[1].tops > 0 and .[1].gb_per_s == null] | all' \
        "$top/out")"
explain bench --json
same "bench: measured anew" "false" "$(jq '[.questions[].candidates[].kept] | any' "$top/out")"
explain explain --set plugins.linear=org.bitnetd.scalar-ref --json
same "explain: a pin wins" '"org.bitnetd.scalar-ref"' \
    "$(jq '[.questions[] | select(.family == "linear") | .candidates[] | select(.chosen).plugin] |
        unique[]' "$top/out")"
explain explain --set plugins.timings=off
same "explain: timings = off keeps nothing" 0 "$(grep -c '(kept)' "$top/out")"
explain explain -m /nonexistent
same "explain: no model" "1 1" "$status $(wc -l < "$top/err")"
"$tool" explain --dir "$top/plugins" > /dev/full 2> "$top/err"
same "explain: standard output is full" "1 1" "$? $(wc -l < "$top/err")"

# ---- the command line ----

for bad in "" "frob" "list x" "verify" "verify a b" "list --full" "verify --fast $ref" "list --frob" \
        "verify --seed x $ref" "verify --option novalue $ref" "verify --limit 0 $ref" "explain x"; do
    # shellcheck disable=SC2086
    run $bad
    same "wrong command line: $bad" "2 1" "$status $(grep -c '^usage:' "$top/err")"
done
verify --filter "no such case" "$faulty"
same "verify --filter that fits nothing" 2 "$status"
verify --isa avx1024 "$faulty"
same "verify --isa that nobody knows" 2 "$status"

server_verdict
