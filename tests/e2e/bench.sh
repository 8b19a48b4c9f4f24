#!/bin/bash
# bench.sh - `bitnet bench` says what was asked, in each of its formats.
#
#   bench.sh BUILD
#
# shellcheck disable=SC2034,SC2154   # server_lib.sh reads build, sets bitnet, top
set -u
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh
# shellcheck source=tests/e2e/tools_lib.sh
. tests/e2e/tools_lib.sh

ref=org.bitnetd.scalar-ref
m=$top/tiny.gguf
"$bitnet" synth --shape tiny -o "$m" 2> /dev/null || exit 2
bench() { "$bitnet" bench -m "$m" --plugin $ref "$@" 2> "$top/err"; }

# ---- one run, looked at closely ----

bench -p 24 -n 4 -b 1,3 --depth 0,33 -r 3 --chunk 16 -t 2 -o json \
    --commit 'a "b' > "$top/rows.json"
rows() { jq -r "$1" "$top/rows.json" | tr '\n' ' ' | sed 's/ $//'; }
same "rows are named as llama-bench names them" \
    "pp24*1 tg4*1 tg4*3 pp24@d33*1 tg4@d33*1 tg4@d33*3" "$(rows '.[] | "\(.test)*\(.n_batch)"')"
same "what a name says is in columns too" \
    "24,0,1,0 0,4,1,0 0,4,3,0 24,0,1,33 0,4,1,33 0,4,3,33" \
    "$(rows '.[] | "\(.n_prompt),\(.n_gen),\(.n_batch),\(.n_depth)"')"
same "every row has the same columns" true "$(rows 'map(keys_unsorted) | unique | length == 1')"
same "figures are positive" true "$(rows 'all(.[];
    .tok_s > 0 and .step_ms > 0 and .step_bytes > 0 and .step_macs > 0 and .read_gbs > 0 and
    .int8_gmacs > 0 and .of_read > 0 and .of_int8 > 0 and .machine_read_gbs > 0 and
    .machine_int8_gmacs > 0 and .load_s > 0 and .rss_peak_mib > 0 and .weights_mib > 0 and
    .kv_mib > 0)')"
same "the median lies between the extremes" true \
    "$(rows 'all(.[]; .tok_s_min <= .tok_s and .tok_s <= .tok_s_max and
        .step_ms_p10 <= .step_ms and .step_ms <= .step_ms_p90)')"
# Two layers of 256 x (256 + 128 + 128 + 256) + 3 x 256 x 768 weights, a head of
# 2048 x 256: multiply-adds of one row.
same "multiply-adds of a step" "2097152 6291456" \
    "$(rows '.[1, 2].step_macs')"
same "multiply-adds of a prompt: one row has logits" $(((2 * 786432 * 24 + 524288) / 2)) \
    "$(rows '.[0].step_macs')"
# 512 columns of f16 a token and layer: 2 x 2 x 128 x 2 bytes; tokens 34 to 37.
same "deeper sequences read more keys and values" "$((33 * 1024)) $((33 * 3072))" \
    "$(rows '.[4].step_bytes - .[1].step_bytes, .[5].step_bytes - .[2].step_bytes')"
bench -p 0 -n 4 --depth 33 -r 1 --kv i8 -o json > "$top/i8.json"
same "int8 keys and values are fewer bytes" "i8 true" \
    "$(jq -r --slurpfile f16 "$top/rows.json" \
        '.[0] | "\(.type_kv) \(.step_bytes < $f16[0][4].step_bytes)"' "$top/i8.json")"
same "a share is part over whole" true \
    "$(rows 'all(.[]; (.read_gbs / .now_read_gbs / .of_read - 1 | fabs) < 1e-6 and
        (.int8_gmacs / .now_int8_gmacs / .of_int8 - 1 | fabs) < 1e-6 and
        .of_limit == ([.of_read, .of_int8] | max))')"
same "speed is tokens over time" true \
    "$(rows '.[1] | .tok_s * .step_ms / 1e3 | . > 0.5 and . < 2')"
same "the reference looks at every row of the head" 2048 "$(rows '[.[].head_rows] | unique | .[]')"
same "who computed" "$ref: scalar reference" \
    "$(rows '[.[] | .plugin_layers, .plugin_head, .plugin_attn, .plugin_point] | unique | .[]')"
same "what and where" "2 I2_S F16 bitnet-b1.58 3" \
    "$(rows '.[0] | "\(.threads) \(.type_layers) \(.type_head) \(.arch) \(.n_rep)"')"
same "the command and the commit" "a \"b" "$(rows '.[0].commit')"
if [ "$(rows '.[0].command')" = "bitnet bench -m $m --plugin $ref -p 24 -n 4 -b 1,3 --depth 0,33 \
-r 3 --chunk 16 -t 2 -o json --commit 'a \"b'" ]; then ok "the command can be given again"
else not_ok "the command can be given again" "$(rows '.[0].command')"; fi

# ---- the other formats ----

few() { bench -p 4 -n 2 -b 1,2 -r 1 -o "$@"; }
few jsonl > "$top/out"
same "jsonl: a row a line, the same columns" "3 true" \
    "$(wc -l < "$top/out") $(jq -s --slurpfile all "$top/rows.json" \
        'all(.[]; keys == ($all[0][0] | keys))' "$top/out")"
few csv > "$top/out"
same "csv: a header and as many fields in each line" "4 1 $(rows '.[0] | length')" \
    "$(sed 's/"[^"]*"/x/g' "$top/out" | awk -F, '{ n[NF]++ } END { for (f in n) k++; print NR, k, f }')"
same "csv: the columns of json" "$(rows '.[0] | keys_unsorted | join(",")')" "$(head -n 1 "$top/out")"
same "csv: the rows" "pp4 tg2 tg2" "$(sed '1d; s/^"\([^"]*\)".*/\1/' "$top/out" | tr '\n' ' ' | sed 's/ $//')"
bench -p 4 -n 2 -b 1,2 -r 1 > "$top/out"
same "md, the default: the rows" "pp4 tg2 tg2" "$(awk -F' *[|] *' '/^\| (pp|tg)/ { print $2 }' "$top/out" |
    tr '\n' ' ' | sed 's/ $//')"
same "only a prompt" pp4 "$(bench -p 4 -n 0 -r 1 -o jsonl | jq -r .test)"
same "only decoding" tg2 "$(bench -p 0 -n 2 -r 1 -o jsonl | jq -r .test)"
same "fewer instructions, a lower peak" true \
    "$(bench -p 2 -n 0 -r 1 -o json --isa baseline | jq --slurpfile all "$top/rows.json" \
        '$all[0][0].isa == "baseline" or $all[0][0].machine_int8_gmacs > .[0].machine_int8_gmacs')"

# With whatever plugins there are, twice: what was measured and prepared is kept.
for start in first second; do
    run bench -m "$m" -p 4 -n 3 -r 1 -o json --timings "$top/timings" --weight-cache "$top/cache"
    same "chosen by measurement, $start start" "0 true" \
        "$status $(jq 'all(.[]; .tok_s > 0 and .head_rows > 0 and .head_rows <= 2048)' "$top/out")"
done
run bench -m "$m" -p 4 -n 3 -r 1 -o json --timings "$top/timings" --all-logits
same "--all-logits: every row of the head" "0 2048" \
    "$status $(jq -r '[.[].head_rows] | unique | .[]' "$top/out")"

# ---- what goes wrong ----

refused "unknown option" 2 "unknown option" bench --frob
refused "missing file" 1 "cannot open: No such file" bench -m /nonexistent
refused "nothing to measure" 2 "nothing to measure" bench -m "$m" -p 0 -n 0
refused "no repetition" 2 "reps: 0" bench -m "$m" -r 0
refused "no rows" 2 "chunk: 0" bench -m "$m" --chunk 0
refused "unknown keys and values" 2 "kv: q4, expected f16 or i8" bench -m "$m" --kv q4
refused "unknown format" 2 "expected md, csv, json or jsonl" bench -m "$m" -o xml
for list in 0 '1,' ,1 1,,2 1,x 99999 -1 '1 2' ''; do
    refused "batches \"$list\"" 2 "batch: $list, expected up to 16 whole numbers" bench -m "$m" -b "$list"
done
refused "more than the context" 2 "1100 positions are asked for, the model has 1024" \
    bench -m "$m" -p 100 -n 8 --depth 0,1000
refused "keys and values beyond memory" 1 "lower --batch.* MiB needed" \
    bench -m "$m" -p 0 -n 1000 -b 65000
"$bitnet" synth --shape tiny --ctx 10000000 -o "$top/long.gguf" 2> /dev/null
refused "keys and values beyond counting" 2 "lower --batch or --depth" \
    bench -m "$top/long.gguf" -p 0 -n 1000 -b 60000 --depth 1000000
refused "an unknown plugin" 1 "no plugin has this id" bench -m "$m" --plugin no.such.plugin
refused "a word too many" 2 "unexpected" bench x
"$bitnet" bench -m "$m" -p 2 -n 0 -r 1 > /dev/full 2> "$top/err"
same "standard output is full" "1 1" "$? $(grep -c '^bitnet: .*cannot write: No space left' "$top/err")"
run bench --help
same "--help" "0 1" "$status $(grep -c '^usage: bitnet bench ' "$top/out")"

server_verdict
