#!/bin/bash
# doctor.sh - `bitnet doctor`: what is read wrongly is found, and what it says
# mends it.
#
#   doctor.sh BUILD
#
# shellcheck disable=SC2034,SC2154   # server_lib.sh reads build, sets bitnet, top
set -u
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh
# shellcheck source=tests/e2e/tools_lib.sh
. tests/e2e/tools_lib.sh

relayout() { "$bitnet" convert models/story.gguf "$2" --type i2_s --i2s-layout "$1" 2> /dev/null; }

# ---- a model that is as it should be ----

run doctor models/story.gguf
same "the story model is fine" "0 4 0" \
    "$status $(grep -cE '^(file|tokenizer|graph|kernel) +ok ' "$top/out") $(wc -c < "$top/err")"
same "nothing is to be mended" 0 "$(grep -c 'to mend' "$top/out")"

# ---- a byte order that nothing in the file tells ----

relayout b "$top/b.gguf"
run doctor "$top/b.gguf"
same "layout B: found, and said how to mend it" "1 1 1" \
    "$status $(grep -c '^i2s_layout = b$' "$top/out") $(grep -c '^graph  *mend ' "$top/out")"
command=$(sed -n 's/^bitnet convert //p' "$top/out")
same "layout B: a command that mends it" "$top/b.gguf OUT.gguf --type i2_s --in-i2s-layout b" \
    "$command"
# shellcheck disable=SC2086          # words
"$bitnet" convert ${command/OUT.gguf/"$top/a.gguf"} 2> /dev/null
for f in models/story.gguf "$top/a.gguf"; do
    "$bitnet" logits -m "$f" -p 'Once upon a time' -o "$top/${f##*/}.f32" 2> /dev/null
done
if cmp -s "$top/story.gguf.f32" "$top/a.gguf.f32"; then ok "layout B: the command mends it"
else not_ok "layout B: the command mends it"; fi

relayout c "$top/c.gguf"
run doctor --json --activation silu --pre gpt-2 "$top/c.gguf"
same "layout C, the wrong activation, the wrong pre-tokenizer: all three found" \
    '1 "mend" "[model]\ni2s_layout = c\nactivation = relu2\npre = llama-bpe\n"' \
    "$status $(jq -c .verdict "$top/out") $(jq -c .mend.ini "$top/out")"
same "the margin is large" true \
    "$(jq '[.readings[] | select(.what == "I2_S layout")] |
           (map(select(.in_use))[0].nats - map(select(.best))[0].nats) > 1000' "$top/out")"

# ---- a plugin that is wrong where no known answer looks ----

mkdir "$top/plugins"
cp "$build/lib/bitnet/plugins/scalar-ref.so" "$build/tests/plugins/faulty-shape/faulty-shape.so" \
    "$top/plugins"
run doctor --plugin-dir "$top/plugins" models/story.gguf
same "a wrong kernel: found, and another plugin named" "1 1 1" \
    "$status $(grep -c '^kernel  *mend .*org.bitnetd.test.faulty is wrong' "$top/out") \
$(grep -c '^linear = org.bitnetd.scalar-ref$' "$top/out")"

# ---- nothing to be found ----

"$bitnet" synth --shape tiny --seed 7 -o "$top/random.gguf" 2> /dev/null
run doctor "$top/random.gguf"
same "random weights: no reading is recommended" "1 1 0" \
    "$status $(grep -c 'no reading makes sense' "$top/out") $(grep -c 'to mend, in' "$top/out")"

# ---- what cannot run ----

head -c 100000 models/story.gguf > "$top/cut.gguf"
run doctor "$top/cut.gguf"
same "a truncated file cannot run" "2 1" \
    "$status $(grep -c '^file  *cannot run  .*truncated' "$top/out")"
run doctor tests/golden/refused/tokens_missing.gguf
same "a missing vocabulary is the tokenizer's fault" "2 ok cannot" \
    "$status $(awk '$1 == "file" || $1 == "tokenizer" { print $2 }' "$top/out" | xargs)"
run doctor "$top/none.gguf"
same "a file that is not there cannot run" "2 1" "$status $(grep -c '^file  *cannot run ' "$top/out")"
refused "one file at a time" 2 "one file too many" doctor models/story.gguf "$top/b.gguf"

server_verdict
