#!/bin/bash
# families.sh - a checkpoint of every published family, from its publisher's
# files to an answer: `bitnet synth --hf`, then inspect, convert and run.
#
#   families.sh BUILD
#
# shellcheck disable=SC2034,SC2154   # server_lib.sh reads build, sets bitnet, top
set -u
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh
# shellcheck source=tests/e2e/tools_lib.sh
. tests/e2e/tools_lib.sh

synth() { "$bitnet" synth --hf --seed 7 "$@" 2> /dev/null; }
logits()                            # MODEL OUT
{
    "$bitnet" logits -m "$1" --ids "$(seq -s, 300 7 510)" -o "$2" 2> /dev/null
}
text='once upon a time, there was a bear who could not sleep: 123 (or "so")'

# ---- every family ----

while read -r shape arch kind sum; do
    d=$top/$shape
    synth --shape "$shape" -o "$d"
    same "$shape: the same bytes on every machine" "$sum" \
        "$(cat "$d"/*.json "$d"/*.safetensors | sha256sum | cut -c 1-16)"
    run inspect "$d"
    same "$shape: it runs as it is" "0 1 1" \
        "$status $(grep -c '^runs: yes' "$top/out") $(grep -c "architecture $arch," "$top/out")"
    "$bitnet" synth --shape "$shape" --seed 7 -o "$d.own.gguf" 2> /dev/null
    same "$shape: its tokenizer is that of the GGUF file" \
        "$("$bitnet" tokenize -m "$d.own.gguf" --ids "$text" 2> /dev/null)" \
        "$("$bitnet" tokenize -m "$d" --ids "$text" 2> /dev/null)"
    run convert "$d" "$d.gguf" --type i2_s
    same "$shape: it converts" 0 "$status"
    run inspect "$d.gguf"
    same "$shape: converted, it runs" "0 1" "$status $(grep -c '^runs: yes' "$top/out")"
    logits "$d" "$top/a.f32"
    logits "$d.gguf" "$top/b.f32"
    if [ -s "$top/a.f32" ] && cmp -s "$top/a.f32" "$top/b.f32"; then
        ok "$shape: the same logits before and after"
    else
        not_ok "$shape: the same logits before and after"
    fi
    run run -m "$d.gguf" -p 'once upon a time' -n 4 --temp 0 --ignore-eog
    if [ "$kind" = text ]; then
        same "$shape: it writes text" 0 "$status"
    else
        same "$shape: it is for embeddings" "1 1" \
            "$status $(grep -c 'makes vectors of texts' "$top/err")"
    fi
done << 'END'
tiny bitnet-b1.58 text 89f2830d3f70cb9f
1bitllm-tiny bitnet text e5dad8df75a98c72
llama3-tiny llama text c05bd8ecdd5e785c
falcon3-tiny llama text fba427d240bacd0a
falcon-e-tiny llama text 54bd5735f3839af0
qwen3-tiny qwen3 embedding eb09fc1f8f2f4dae
gemma3-tiny gemma3 embedding b1d6aa4332c99eaa
END

# ---- one file or several, packed or not ----

synth --shape llama3-tiny --shard-size 1 -o "$top/several"
same "several files" "$(printf 'model-0000%d-of-00003.safetensors ' 1 2 3)" \
    "$(cd "$top/several" && printf '%s ' model-*)"
same "and their index" "35 2492956" "$(jq -r '"\(.weight_map | length) \(.metadata.total_size)"' \
    "$top/several/model.safetensors.index.json")"
logits "$top/llama3-tiny" "$top/a.f32"
logits "$top/several" "$top/b.f32"
if cmp -s "$top/a.f32" "$top/b.f32"; then ok "several files: the same logits"
else not_ok "several files: the same logits"; fi

for shape in tiny llama3-tiny falcon-e-tiny; do
    synth --shape $shape --latent -o "$top/latent-$shape"
    run inspect "$top/latent-$shape"
    same "$shape --latent: it runs" "0 1" "$status $(grep -c '^runs: yes' "$top/out")"
done

# Codes of the directory are those of the GGUF file of the same seed: the bytes
# of an I2_S tensor but for its scale.
codes()                             # FILE TENSOR
{
    "$bitnet" inspect --json "$1" | jq -r --arg n "$2" \
        '.tensors[] | select(.name == $n) | "\(.offset) \(.shape[0] * .shape[1] / 4)"' | {
        read -r at n
        tail -c "+$((at + 1))" "$1" | head -c "$n" | sha256sum
    }
}
for tensor in blk.0.attn_q blk.0.attn_k blk.0.ffn_gate blk.1.ffn_down; do
    same "packed codes of $tensor are those of the GGUF file" \
        "$(codes "$top/tiny.own.gguf" $tensor.weight)" "$(codes "$top/tiny.gguf" $tensor.weight)"
done
same "and differ between layers" 2 \
    "$(for n in 0 1; do codes "$top/tiny.gguf" blk.$n.attn_q.weight; done | sort -u | wc -l)"

synth --shape tiny --vocab models/story.gguf -o "$top/story"
same "--vocab: another file's tokenizer" "$("$bitnet" tokenize --ids "$text")" \
    "$("$bitnet" tokenize -m "$top/story" --ids "$text")"

# ---- what goes wrong ----

refused "--latent for a GGUF file" 2 "expected --hf" synth --shape tiny --latent -o "$top/x"
refused "--type for a directory" 2 "are for GGUF files" \
    synth --hf --shape tiny --type tq1_0 -o "$top/x"
refused "no size of files" 2 "shard-size" synth --hf --shape tiny --shard-size 0 -o "$top/x"
refused "no such folder" 1 "cannot create" synth --hf --shape tiny -o "$top/none/x"
(ulimit -f 100; "$bitnet" synth --hf --shape tiny -o "$top/full" 2> "$top/err")
same "nothing is left of a file that could not be finished" "1 1 0" \
    "$? $(grep -c '^bitnet: .*cannot write: File too large' "$top/err") $(
        find "$top/full" -type f | wc -l)"

# Half a directory says what is missing.
rm "$top/several/model-00002-of-00003.safetensors"
refused "a file of several is gone" 1 "model-00002-of-00003.safetensors" inspect "$top/several"
rm "$top/story/tokenizer.json"
refused "no tokenizer" 1 "story/tokenizer.json: is missing" inspect "$top/story"

server_verdict
