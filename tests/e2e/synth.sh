#!/bin/bash
# synth.sh - `bitnet synth`: the same bytes for the same words, and a model that
# works.
#
#   synth.sh BUILD
#
# shellcheck disable=SC2034,SC2154   # server_lib.sh reads build, sets bitnet, top
set -u
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh
# shellcheck source=tests/e2e/tools_lib.sh
. tests/e2e/tools_lib.sh

tiny() { "$bitnet" synth --shape tiny "$@" 2> /dev/null; }

# ---- the same bytes, on every machine and from every compiler ----

while read -r type head sum; do
    same "tiny $type with $head head has its bytes" "$sum" \
        "$(tiny --type "$type" --head "$head" --seed 7 -o - | sha256sum | cut -c 1-16)"
done << 'END'
i2_s f16 63905822f92a265c
tq1_0 q6_k 2675cb59dd96baca
tq2_0 q8_0 0464af6500e95f02
f16 f32 2b0a85671a319051
END
for graph in qwen3-tiny:c09f7d4dd834aaa9 gemma3-tiny:d331657fc7b866e8; do
    same "${graph%:*} has its bytes" "${graph#*:}" \
        "$("$bitnet" synth --shape "${graph%:*}" --seed 7 -o - 2> /dev/null | sha256sum |
           cut -c 1-16)"
done
tiny --seed 7 -o "$top/a.gguf"
if tiny --seed 8 -o - | cmp -s "$top/a.gguf" -; then not_ok "another seed"; else ok "another seed"; fi

# ---- a model that works ----

run inspect "$top/a.gguf"
same "inspect: it runs, without a warning" "0 1 0" \
    "$status $(grep -c '^runs: yes$' "$top/out") $(grep -ci warning "$top/out")"
text='once upon a time, there was a bear who could not sleep: 123 (or "so")'
same "its own tokenizer gives text back" "$text" \
    "$("$bitnet" tokenize -m "$top/a.gguf" --no-bos --ids -- "$text" |
       "$bitnet" tokenize -m "$top/a.gguf" --decode -)"
same "it joins letters" true \
    "$("$bitnet" tokenize -m "$top/a.gguf" --json --no-bos --ids abab | jq 'length < 4')"

ids=$(seq -s, 1 5 1500)
"$bitnet" logits -m "$top/a.gguf" --ids "$ids" -o "$top/i2_s.f32" 2> /dev/null
same "300 tokens: logits are finite, spread and bounded" "614400 0 yes" \
    "$(od -An -v -tf4 -w4 "$top/i2_s.f32" | awk '
        /n/ { bad++; next }
        { n++; s += $1 * $1; a = $1 < 0 ? -$1 : $1; if (a > m) m = a }
        END { r = sqrt(s / n); good = r > 0.5 && r < 4 && m < 30
              print n + bad, bad + 0, (good ? "yes" : "rms " r " max " m) }')"
for type in tq1_0 tq2_0; do
    tiny --seed 7 --type $type -o "$top/b.gguf"
    "$bitnet" logits -m "$top/b.gguf" --ids "$ids" -o "$top/b.f32" 2> /dev/null
    if cmp -s "$top/i2_s.f32" "$top/b.f32"; then ok "$type: the same logits as i2_s"
    else not_ok "$type: the same logits as i2_s"; fi
done
for head in q8_0 q6_k f32; do
    tiny --seed 7 --head $head -o "$top/b.gguf"
    run run -m "$top/b.gguf" -p 'once upon a time' -n 8 --ignore-eog --temp 0
    same "$head head: it runs" 0 "$status"
done
for arch in bitnet bitnet-25; do
    tiny --arch $arch -o "$top/b.gguf"
    run inspect "$top/b.gguf"
    same "--arch $arch: still squared ReLU" "1 1" \
        "$(grep -c "architecture $arch," "$top/out") $(grep -c '(relu2)' "$top/out")"
done
tiny --ctx 5000 -o "$top/b.gguf"
run inspect "$top/b.gguf"
same "--ctx" 1 "$(grep -c 'context 5000,' "$top/out")"

tiny --vocab models/story.gguf -o "$top/b.gguf"
same "--vocab: the other file's tokens" "$("$bitnet" tokenize --ids 'Once upon a time')" \
    "$("$bitnet" tokenize -m "$top/b.gguf" --ids 'Once upon a time')"

# The real shapes, as far as the first bytes tell.
for shape in 2b4t:bitnet-b1.58 0.7b:bitnet 3b:bitnet 8b:llama falcon-e-1b:llama falcon3-7b:llama; do
    "$bitnet" synth --shape "${shape%:*}" -o - 2> /dev/null | head -c 200 > "$top/head"
    same "${shape%:*}: begins" "GGUF ${shape#*:}" "$(head -c 4 "$top/head") $(
        tr -cs '[:print:]' '\n' < "$top/head" | sed -n '/^general.architecture$/{n;p;}')"
done

# ---- what goes wrong ----

refused "no shape" 2 "no --shape" synth -o "$top/x"
refused "no file" 2 "no --out" synth --shape tiny
refused "unknown shape" 2 "expected 2b4t, 0.7b" synth --shape 4b -o "$top/x"
refused "unknown type" 2 "expected i2_s, tq1_0" synth --shape tiny --type q4_0 -o "$top/x"
refused "a ternary head" 2 "expected f32, f16" synth --shape tiny --head tq1_0 -o "$top/x"
refused "blocks that do not fit" 2 "choose another --type" synth --shape 3b --type tq2_0 -o "$top/x"
refused "an arch that has no sub-norms" 2 "--arch: llama" synth --shape tiny --arch llama -o "$top/x"
refused "an arch for a llama" 2 "no such option" synth --shape 8b --arch bitnet -o "$top/x"
refused "another size of vocabulary" 1 "2048 tokens, expected 128256" \
    synth --shape 2b4t --vocab models/story.gguf -o "$top/x"
refused "no such vocabulary" 1 "cannot open" synth --shape tiny --vocab /nonexistent -o "$top/x"
refused "a seed that is no number" 2 "whole number" synth --shape tiny --seed x -o "$top/x"
refused "a word too many" 2 "unexpected" synth --shape tiny x -o "$top/x"
refused "no such folder" 1 "cannot create" synth --shape tiny -o "$top/none/x"
refused "the disk is full" 1 "/dev/full: cannot write: No space" synth --shape tiny -o /dev/full
mkdir "$top/dir"
(ulimit -f 100; "$bitnet" synth --shape tiny -o "$top/dir/x" 2> "$top/err")
same "nothing is left of a file that could not be finished" "1 1 0" \
    "$? $(grep -c '^bitnet: .*cannot write: File too large' "$top/err") $(find "$top/dir" -type f | wc -l)"
run synth --help
same "--help" "0 1" "$status $(grep -c '^usage: bitnet synth ' "$top/out")"

server_verdict
