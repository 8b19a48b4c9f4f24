#!/bin/bash
# embed.sh - models that make vectors of texts: what they answer, and what not.
#
#   embed.sh BUILD
#
# shellcheck disable=SC2034,SC2154   # server_lib.sh reads build, sets bitnet, top, url
set -u
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh
# shellcheck source=tests/e2e/tools_lib.sh
. tests/e2e/tools_lib.sh

post() { curl -s -X POST "$url$1" -H 'Content-Type: application/json' -d "$2"; }
vectors() { post /v1/embeddings "$1" | jq -c '[.data[].embedding]'; }

for graph in qwen3 gemma3; do
    model=$top/$graph.gguf
    "$bitnet" synth --shape $graph-tiny --seed 3 -o "$model" 2> /dev/null
    refused "$graph: run is refused in a line" 1 '/v1/embeddings' run -m "$model" -p x
    refused "$graph: chat is refused in a line" 1 '/v1/embeddings' chat -m "$model"
    server_start --set "model.path=$model" --set engine.n_ctx=256 || continue
    same "$graph: the list says what it is for" last \
        "$(curl -s "$url/v1/models" | jq -r '.data[0].meta.pooling')"
    while read -r path body; do
        same "$graph: $path is refused" \
            '400 unsupported_value model: use /v1/embeddings' \
            "$(curl -s -o "$top/answer" -w '%{http_code}' -X POST "$url$path" -d "$body") $(
               jq -r '.error | .code + " " + .param + ": " + (.message | sub(".*; "; ""))' \
                   "$top/answer")"
    done << 'END'
/v1/completions {"prompt":"once upon a time"}
/v1/chat/completions {"messages":[{"role":"user","content":"hello"}]}
/v1/responses {"input":"hello"}
END
    given=$(vectors '{"input":["the fox","the bear and the fox"]}')
    same "$graph: two vectors of 256, both of length 1" '[[256,true],[256,true]]' \
        "$(jq -c 'map([length, (map(. * .) | add | . > 0.99999 and . < 1.00001)])' <<< "$given")"
    same "$graph: two texts, two vectors" false "$(jq '.[0] == .[1]' <<< "$given")"
    same "$graph: the last token is what the model was made for" "$given" \
        "$(vectors '{"input":["the fox","the bear and the fox"],"pooling":"last"}')"
    same "$graph: the mean is another" false \
        "$(jq -n --argjson a "$given" \
            --argjson b "$(vectors '{"input":["the fox","the bear and the fox"],"pooling":"mean"}')" \
            '$a == $b')"
    same "$graph: a text in company has its own vector" "$(jq -c '.[1:]' <<< "$given")" \
        "$(vectors '{"input":"the bear and the fox"}')"
    same "$graph: equal texts are alike" 1 \
        "$(post /v1/similarity '{"source":"a","sentences":["a"]}' | jq '.scores[0] | . * 1e6 | round / 1e6')"
    server_stop
    same "$graph: ends well" 0 "$status"
    [ $graph = gemma3 ] || continue                 # one start is enough
    server_start --set "model.path=$model" --set engine.n_ctx=256 --set plugins.linear=org.bitnetd.scalar-ref \
        --set plugins.attention=org.bitnetd.scalar-ref --set plugins.pointwise=org.bitnetd.scalar-ref || continue
    same "$graph: the same bits from scalar-ref" "$given" \
        "$(vectors '{"input":["the fox","the bear and the fox"]}')"
    server_stop
done

server_verdict
