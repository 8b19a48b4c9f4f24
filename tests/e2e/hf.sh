#!/bin/bash
# hf.sh - Hugging Face directories wherever a model is named.
#
#   hf.sh BUILD
#
# shellcheck disable=SC2034,SC2154   # server_lib.sh reads build, sets bitnet, top, url
set -u
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh
# shellcheck source=tests/e2e/tools_lib.sh
. tests/e2e/tools_lib.sh

packed=tests/golden/hf/packed
logits_of() { "$bitnet" logits -m "$@" --ids 1,5,9,200,17 -o - 2> /dev/null | sha256sum; }

# ---- a directory gives the bits of the GGUF that it is converted to ----

check_converted()                   # NAME DIR
{
    local head
    head=$("$bitnet" inspect --fast --json "$2" |
           jq -r '.tensors[] | select(.name == "token_embd.weight").type | ascii_downcase')
    "$bitnet" convert "$2" "$top/x.gguf" --force --type i2_s --head "$head" 2> /dev/null
    same "$1: converted, it gives the same bits" "$(logits_of "$2")" "$(logits_of "$top/x.gguf")"
}
check_converted "the story model" $packed
while read -r shape form; do
    rm -rf "$top/dir"
    # shellcheck disable=SC2086       # no form is no word
    "$bitnet" synth --shape "$shape" --seed 7 --hf $form --shard-size 1 -o "$top/dir" 2> /dev/null
    same "$shape${form:+ $form}: several files" true \
        "$([ "$(find "$top/dir" -name '*.safetensors' | wc -l)" -gt 1 ] && echo true)"
    check_converted "$shape${form:+ $form}" "$top/dir"
done << 'END'
1bitllm-tiny --latent
llama3-tiny
gemma3-tiny --latent
END

# Latent weights under a configuration that calls them floats stay what they are:
# --absmean makes of them what a directory that calls them ternary is.
rm -rf "$top/dir" "$top/floats"
"$bitnet" synth --shape 1bitllm-tiny --seed 7 --hf --latent -o "$top/dir" 2> /dev/null
cp -r "$top/dir" "$top/floats"
jq '. + {quantization_config: {quant_method: "bitnet", linear_class: "autobitlinear",
         quantization_mode: "online", modules_to_not_convert: ["self_attn", "mlp"]}}' \
    "$top/dir/config.json" > "$top/floats/config.json"
run convert "$top/floats" "$top/x.gguf" --force --type i2_s
same "floats of a directory are not made ternary unasked" 1 "$status"
run convert "$top/floats" "$top/x.gguf" --force --type i2_s --absmean
same "made ternary by converting and by reading: the same bits" "0 $(logits_of "$top/dir")" \
    "$status $(logits_of "$top/x.gguf")"

# ---- every program that opens a model opens a directory ----

run inspect --fast $packed/
same "inspect: a directory, and it runs" "0 1 1" \
    "$status $(grep -c '^tests/golden/hf/packed/: Hugging Face directory, ' "$top/out") $(
       grep -c '^runs: yes' "$top/out")"
same "tokenize: as the GGUF" "$("$bitnet" tokenize "Once upon a time")" \
    "$("$bitnet" tokenize -m $packed "Once upon a time")"
if server_start --set "model.path=$packed/" --set engine.n_ctx=256; then
    same "bitnetd: the folder's name is the model's" packed \
        "$(curl -s "$url/v1/models" | jq -r '.data[0].id')"
    same "bitnetd: the text of bitnet run" \
        "$("$bitnet" run -m $packed --prompt 'Once upon a time' -n 12 --temp 0 2> /dev/null)" \
        "$(curl -s -X POST "$url/v1/completions" \
            -d '{"prompt":"Once upon a time","max_tokens":12,"temperature":0}' |
           jq -r '.choices[0].text')"
    server_stop
fi

# ---- what is no model is refused in a line ----

refused "weights alone" 2 'expected the directory' run -p x -m $packed/model.safetensors
refused "a folder without a model" 1 'config.json: cannot open' run -p x -m tests/golden/hf
rm -rf "$top/dir" && mkdir "$top/dir"
cp $packed/*.json "$top/dir"
refused "a folder without weights" 1 'neither model.safetensors nor' run -p x -m "$top/dir"
head -c 1000000 $packed/model.safetensors > "$top/dir/model.safetensors"
refused "a file that is cut" 1 'it is truncated, or the header wrong' run -p x -m "$top/dir"

server_verdict
