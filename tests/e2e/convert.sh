#!/bin/bash
# convert.sh - `bitnet convert`: what others' quantizers write, the same model in
# every encoding, and nothing left of a file that was not finished.
#
#   convert.sh BUILD
#
# shellcheck disable=SC2034,SC2154   # server_lib.sh reads build, sets bitnet, top
set -u
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh
# shellcheck source=tests/e2e/tools_lib.sh
. tests/e2e/tools_lib.sh

story=models/story.gguf
to() { "$bitnet" convert "$@" 2> "$top/err"; }

logits_of() { "$bitnet" logits -m "$@" --ids 1,5,9,200,17 -o - 2> /dev/null | sha256sum; }

# ---- the bytes that the encodings' own programs wrote of the same weights ----

# What stands behind the header, and its length.
while read -r type head size sum; do
    to $story "$top/x.gguf" --force --type "$type" --head "$head"
    same "$type with $head head: every tensor as its own quantizer writes it" "$sum" \
        "$(tail -c "$size" "$top/x.gguf" | sha256sum | cut -c 1-16)"
done << 'END'
tq1_0 f16 1826816 62f544da6b024302
tq2_0 f16 1992704 b46d7f4f571bbdf1
iq1_bn f16 1823744 08bc6ed00c3cd99c
iq2_bn f16 2014208 dbed67f77f7c81c4
iq2_bn_r4 f16 2014208 dd53e23804627058
q8_0 f16 4840448 e097e4d4955f4157
iq2_bn q4_0 1260544 a521b5ec96f8ce4e
iq2_bn q8_0 1522688 b0d724f22b9588f8
END

# I2_S leaves 28 bytes of a tensor undefined; what another program has there is
# not in ours.
to $story "$top/i2_s.gguf" --type i2_s
"$bitnet" inspect --json $story | jq -r '.tensors[] | "\(.name) \(.type) \(.offset) \(.size)"' |
    sort > "$top/list.1"
"$bitnet" inspect --json "$top/i2_s.gguf" |
    jq -r '.tensors[] | "\(.name) \(.type) \(.offset) \(.size)"' | sort > "$top/list.2"
join "$top/list.1" "$top/list.2" | while read -r name type at size type2 at2 _; do
    [ "$type" = I2_S ] && size=$((size - 28))
    [ "$type" = "$type2" ] && cmp -s -i "$at:$at2" -n "$size" $story "$top/i2_s.gguf" ||
        echo "$name"
done > "$top/differ"
same "i2_s: codes and scales as the reference tool wrote them" "68 0" \
    "$(wc -l < "$top/list.1") $(wc -l < "$top/differ")"

# ---- the same model in every encoding, and back ----

# What a reader must be told, run is told too: an option without its first part.
want=$(logits_of $story)
tl1=tl-preset=256x256:128/64/32,128x256:64/64/64,512x256:256/128/32,256x512:128/128/32
tl2=tl-preset=256x256:128/96/32,128x256:64/96/32,512x256:256/96/32,256x512:128/96/32
while read -r type option; do
    to $story "$top/x.gguf" --force --type "$type" ${option:+"--$option"}
    case $type in
    f16) ;;                         # no codes, no int8 activations: other arithmetic
    *) same "$type ${option%%:*}: the same logits" "$want" \
        "$(logits_of "$top/x.gguf" ${option:+"--$option"})" ;;
    esac
    to "$top/x.gguf" "$top/y.gguf" --force --type i2_s ${option:+"--in-$option"}
    if cmp -s "$top/i2_s.gguf" "$top/y.gguf"; then ok "$type ${option%%:*}: and back"
    else not_ok "$type ${option%%:*}: and back" "$(cat "$top/err")"; fi
done << END
i2_s
i2_s i2s-layout=b
i2_s i2s-layout=c
tq1_0
tq2_0
q2_0
iq1_bn
iq2_bn
iq2_bn_r4
tl1 $tl1
tl2 $tl2
f16
END

to $story - --type i2_s > "$top/x.gguf"
if cmp -s "$top/i2_s.gguf" "$top/x.gguf"; then ok "to a pipe"; else not_ok "to a pipe"; fi

# ---- embedding and head ----

for head in f16 q8_0 q6_k q4_0 bf16 f32; do
    to $story "$top/x.gguf" --force --type tq2_0 --head $head
    same "$head head: written, and the model runs" "$head true" \
        "$("$bitnet" inspect --json "$top/x.gguf" |
           jq -r '"\(.tensors[] | select(.name == "token_embd.weight").type | ascii_downcase) \(.runs)"')"
done
to "$top/x.gguf" "$top/y.gguf" --force --type tq2_0
if cmp -s "$top/x.gguf" "$top/y.gguf"; then ok "without --head: as it is"
else not_ok "without --head: as it is"; fi

# ---- Hugging Face directories ----

dir=tests/golden/hf/packed
to $dir "$top/x.gguf" --force --type i2_s
same "a directory and its file: the same logits" "$(logits_of $dir)" "$(logits_of "$top/x.gguf")"
# A checkpoint of each published family: packed weights that divide or multiply,
# floats, permuted heads, norms for every projection.
for shape in tiny 1bitllm-tiny llama3-tiny falcon3-tiny qwen3-tiny gemma3-tiny; do
    "$bitnet" synth --shape $shape --hf -o "$top/hf" 2> /dev/null
    to "$top/hf" "$top/x.gguf" --force --type i2_s
    same "$shape: the same logits as the directory" "$(logits_of "$top/hf")" \
        "$(logits_of "$top/x.gguf")"
    rm -r "$top/hf"
done

# ---- keys ----

keys() { "$bitnet" inspect --json "$1" | jq -c "[.metadata[] | select($2)]"; }
own='.key == "general.file_type" or .key == "bitnet-b1.58.hidden_activation"'
same "all other keys are those of the file" "$(keys $story "$own | not")" \
    "$(keys "$top/i2_s.gguf" "$own | not")"
same "file type and activation are said" "40 relu2" \
    "$(keys "$top/i2_s.gguf" "$own" | jq -r 'map(.value) | sort_by(type) | join(" ")')"
LC_ALL=C sed 's/tokenizer\.ggml\.pre/tokenizer.ggml.pr_/' $story > "$top/nopre.gguf"
to "$top/nopre.gguf" "$top/x.gguf" --force --type i2_s --pre llama-bpe --activation silu
same "a missing pre-tokenizer is filled in; what is said of IN is written" "llama-bpe silu" \
    "$(keys "$top/x.gguf" '.key == "tokenizer.ggml.pre" or (.key | endswith("activation"))' |
       jq -r 'map(.value) | sort | join(" ")')"

# ---- weights that are not ternary ----

to $story "$top/f16.gguf" --type f16
at=$("$bitnet" inspect --json "$top/f16.gguf" |
     jq '.tensors[] | select(.name == "blk.2.ffn_up.weight").offset')
cp "$top/f16.gguf" "$top/odd.gguf"
printf '\000\064' | dd of="$top/odd.gguf" bs=1 seek=$((at + 200)) conv=notrunc 2> /dev/null
refused "one weight of another size" 1 "blk.2.ffn_up.weight: not ternary: 1 of its 131072 weights" \
    convert "$top/odd.gguf" "$top/no.gguf" --type i2_s
same "and nothing is written" 0 "$(find "$top" -name 'no.gguf*' | wc -l)"
to "$top/odd.gguf" "$top/x.gguf" --force --type tq2_0 --absmean
same "--absmean: written, and said of which" "0 1" \
    "$? $(grep -c 'warning: 1 of 42 matrices.*blk.2.ffn_up.weight, correlation [01]\.[0-9]*, mean' "$top/err")"

# A scale that one block alone has stays where blocks have scales.
to $story "$top/blocks.gguf" --type tq2_0
at=$("$bitnet" inspect --json "$top/blocks.gguf" |
     jq '.tensors[] | select(.name == "blk.1.attn_k.weight").offset')
printf '\000\064' | dd of="$top/blocks.gguf" bs=1 seek=$((at + 64)) conv=notrunc 2> /dev/null
to "$top/blocks.gguf" "$top/x.gguf" --force --type tq1_0
to "$top/x.gguf" "$top/y.gguf" --force --type tq2_0
if cmp -s "$top/blocks.gguf" "$top/y.gguf"; then ok "block scales: kept, there and back"
else not_ok "block scales: kept, there and back" "$(cat "$top/err")"; fi
refused "block scales where there is one for all" 1 "blk.1.attn_k.weight: not ternary" \
    convert "$top/x.gguf" "$top/no.gguf" --type i2_s

# ---- what goes wrong ----

refused "no type" 2 "no --type" convert $story "$top/no.gguf"
refused "an unknown type" 2 "expected i2_s, tq1_0.* or q4_0" convert $story "$top/no.gguf" --type q9
refused "a ternary head" 2 "expected f16, q8_0, q6_k, q4_0, bf16 or f32" \
    convert $story "$top/no.gguf" --type i2_s --head tq1_0
refused "one name" 2 "1 file names, expected two" convert $story --type i2_s
refused "a layout that is none" 2 "expected a, b or c" \
    convert $story "$top/no.gguf" --type i2_s --i2s-layout d
refused "a layout of another encoding" 2 "only with --type i2_s; .*--in-i2s-layout" \
    convert $story "$top/no.gguf" --type tq1_0 --i2s-layout b
refused "tiles that nobody knows" 1 "blk.0.attn_q.weight: --type tl1: .*1536x4096, .*256x256:BM" \
    convert $story "$top/no.gguf" --type tl1
refused "a file that is there" 1 "there already, .* --force" convert $story "$top/i2_s.gguf" --type i2_s
ln -s "$PWD/$story" "$top/link.gguf"
refused "onto itself" 2 "is what is read" convert $story "$top/link.gguf" --force --type i2_s
refused "no such file" 1 "none.gguf: cannot" convert "$top/none.gguf" "$top/no.gguf" --type i2_s
refused "not a model" 1 "not a GGUF file" convert README.md "$top/no.gguf" --type i2_s
head -c 300000 $story > "$top/cut.gguf"
refused "a file that was cut" 1 "cut.gguf: tensor" convert "$top/cut.gguf" "$top/no.gguf" --type i2_s
refused "no such folder" 1 "cannot create" convert $story "$top/none/x.gguf" --type i2_s
refused "the disk is full" 1 "/dev/full: cannot write: No space" convert $story /dev/full --type i2_s
mkdir "$top/dir"
(ulimit -f 1000; "$bitnet" convert $story "$top/dir/x" --type i2_s 2> "$top/err")
same "no room: known at the start, one line, nothing left" "1 1 1 0" \
    "$? $(wc -l < "$top/err") $(grep -c 'x: cannot write: File too large; it takes [0-9]* bytes' \
       "$top/err") $(find "$top/dir" -type f | wc -l)"

# ---- killed ----

# A search for every scale takes long enough to be met in the middle. Whatever
# happens, the file is whole or not there.
to $story "$top/whole.gguf" --type q6_k --head q6_k
met=0
for signal in TERM KILL INT; do
    left=0
    for delay in 0.03 0.08 0.14 0.25; do
        # A shell's background job would ignore SIGINT.
        timeout --foreground -s $signal $delay "$bitnet" convert $story "$top/dir/x" --force \
            --type q6_k --head q6_k 2> /dev/null
        part=$(find "$top/dir" -name 'x.*' | wc -l)
        [ "$signal" = KILL ] && met=$((met + part))
        [ "$signal" != KILL ] && left=$((left + part))
        [ ! -e "$top/dir/x" ] || cmp -s "$top/whole.gguf" "$top/dir/x" || left=$((left + 100))
        rm -f "$top"/dir/*
    done
    same "SIG$signal at any time: whole or not there" 0 $left
done
same "and it was met in the middle" yes "$([ $met -gt 0 ] && echo yes)"

run convert --help
same "--help" "0 1" "$status $(grep -c '^usage: bitnet convert ' "$top/out")"

server_verdict
