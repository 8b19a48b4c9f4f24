#!/bin/bash
# crossval.sh - `bitnet perplexity` and `bitnet crossval`: figures that others
# measured, references that agree, and those that do not, lie or hang.
#
#   crossval.sh BUILD
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
story=tests/golden/story
text=$story/val.txt

holds() { if jq -e "$2" "$3" > /dev/null; then ok "$1"; else not_ok "$1" "$2" "$(head -c 1500 "$3")"; fi; }

# ---- perplexity ----

# The first two windows of 512 tokens; the figures are another runtime's (F16
# weights for the first three, which carry the same ternary ones).
while read -r model want; do
    "$bitnet" perplexity -m "$model" -f $text -n 2 -o json > "$top/p.json" 2> /dev/null
    holds "perplexity of ${model##*/} is within 0.5 % of $want" \
        ".perplexity / $want | . > 0.995 and . < 1.005" "$top/p.json"
done << 'END'
models/story.gguf 29.3513
tests/golden/models/story-tq1_0.gguf 29.3513
tests/golden/models/story-tq2_0.gguf 29.3513
tests/golden/models/story-q4_k_s.gguf 29.3650
tests/golden/models/story-iq2_s.gguf 32.1421
END

short="-f $text -c 64 -n 3"
figures() { "$bitnet" perplexity "$@" -o json 2> /dev/null | jq -c 'del(.seconds,.tok_s)'; }
# shellcheck disable=SC2086
{
    alone=$(figures $short)
    same "perplexity: what is scored" '[3,93,true]' "$(jq -c '[.n_window,.n_scored,.bos]' <<< "$alone")"
    for how in "-t 3 --chunk 5" "-t 1 --isa baseline" "--plugin $ref"; do
        same "perplexity: the same figures with $how" "$alone" "$(figures $short $how)"
    done
    same "perplexity: from standard input" "$(jq .perplexity <<< "$alone")" \
        "$("$bitnet" perplexity -f - -c 64 -n 3 --json < $text 2> /dev/null | jq .perplexity)"

    # A window's own row of logits gives the same sum.
    "$bitnet" perplexity $short --save-logits "$top/f32" --save-as f32 > /dev/null 2>&1
    "$bitnet" perplexity $short --save-logits "$top/u16" > "$top/text" 2> /dev/null
    same "perplexity: the text says it too" "$(printf '%.4f' "$(jq .perplexity <<< "$alone")")" \
        "$(awk '/^perplexity/ { print $2 }' "$top/text")"
    "$bitnet" perplexity $short --kl "$top/f32" -o json > "$top/kl" 2> /dev/null
    holds "kl: none of a model with itself" \
        '.kl.mean == 0 and .kl.max == 0 and .kl.top1 == 1 and .kl.ln_ratio == 0' "$top/kl"
    "$bitnet" perplexity --kl "$top/u16" -o json > "$top/kl" 2> /dev/null
    holds "kl: nearly none with 16 bits, and without the text" \
        '(.kl.mean|fabs) < 1e-5 and .kl.max < 1e-3 and .kl.top1 == 1 and .text == null' "$top/kl"
    "$bitnet" perplexity $short --kl "$top/u16" -m tests/golden/models/story-iq2_s.gguf -o json \
        > "$top/kl" 2> /dev/null
    holds "kl: some of a coarser one" \
        '.kl.mean > 0.05 and .kl.median > 0 and .kl.max > .kl.p99 and .kl.top1 < 0.95' "$top/kl"

    refused "kl: other windows" 1 "give the same --ctx" perplexity -f $text -c 32 -n 3 --kl "$top/u16"
    refused "kl: another text" 1 "window 0, token 1 is .*: another text" \
        perplexity -f tests/golden/chat/README.md -c 64 -n 3 --kl "$top/u16"
}
cp "$top/u16" "$top/bad"
printf x | dd of="$top/bad" bs=1 seek=$(($(stat -c %s "$top/bad") - 99)) conv=notrunc 2> /dev/null
refused "kl: a damaged row" 1 "row 92: damaged" perplexity --kl "$top/bad"
head -c 999 "$top/u16" > "$top/cut"
refused "kl: a cut file" 1 "/cut: 999 bytes, expected" perplexity --kl "$top/cut"
tail -c +2 tests/fuzz/seeds/logfile/foreign > "$top/three"
refused "kl: of another vocabulary" 1 "a vocabulary of 3, expected 2048, the model's" \
    perplexity --kl "$top/three"
refused "perplexity: no text" 2 "no text" perplexity
refused "perplexity: too short a text" 2 "expected enough for 1 to" perplexity -f $story/prompts.txt -c 1024
refused "perplexity: windows beyond the context" 2 "expected 1 to 1024" perplexity -f $text -c 2000
refused "perplexity: unknown format" 2 "expected text or json" perplexity -f $text -o xml
refused "perplexity: the disk is full" 1 "No space" perplexity -f $text -c 64 -n 2 --save-logits /dev/full
refused "perplexity: standard output is no file of logits" 2 "expected a file" \
    perplexity -f $text --save-logits -

# ---- crossval: files ----

judge()                             # NAME STATUS FILTER ARGUMENT...
{
    local name=$1 want=$2 filter=$3
    shift 3
    run crossval -o json "$@"
    same "$name: exit code" "$want" "$status"
    holds "$name" "$filter" "$top/out"
}

raw="--tokens $story/story-i2_s.jsonl"
# shellcheck disable=SC2086
{
    judge "golden logits" 0 '.within and .logits.correlation > 0.9995 and .logits.correlation < 0.9997
        and .logits.correlation_mean > 0.9999 and .logits.n_position == 373 and .logits.whole_vocabulary
        and .token_ids == {n_text:10,n_equal:10,first_difference:null}
        and .greedy.share > 0.9 and .greedy.n_text == 10 and .speed.there == null and .speed.here.decode_tok_s > 0' \
        --ref $story/story-i2_s.logits.f32 $raw --prompts $story/prompts.txt -n 4 --report "$top/report"
    same "golden logits: the report is what was printed" "$(jq -S 'del(.time)' "$top/out")" \
        "$(jq -S 'del(.time)' "$top/report")"
    holds "settings: model, plugins, builds" ".settings.model_sha256 == \"$(sha256sum < models/story.gguf |
        cut -d ' ' -f 1)\" and (.settings.plugins[0].build|length) >= 16 and .ref_sha256 == \"$(
        sha256sum < $story/story-i2_s.logits.f32 | cut -d ' ' -f 1)\"" "$top/report"
    judge "limits: an option" 1 '.within == false and .limits.min_correlation == 0.9999' \
        --ref $story/story-i2_s.logits.f32 $raw --texts 9 -n 1 --min-correlation 0.9999
    printf '[crossval]\nmax_difference = 0.01\n' > "$top/limits.ini"
    judge "limits: the configuration" 1 '.limits.max_difference == 0.01' \
        --ref $story/story-i2_s.logits.f32 $raw --texts 2 -n 1 --conf "$top/limits.ini"
    judge "limits: an option is stronger" 0 '.limits.max_difference == 5' \
        --ref $story/story-i2_s.logits.f32 $raw --texts 2 -n 1 --conf "$top/limits.ini" --max-difference 5
    judge "another model" 1 '.logits.correlation < 0.99' \
        --ref $story/story-i2_s.logits.f32 $raw --texts 2 -n 1 --activation silu
    sed '1s/once/twice/;1s/Once/Twice/' $story/prompts.txt > "$top/prompts"
    judge "other token ids" 1 '.token_ids.n_equal == 9 and (.token_ids.first_difference|test("text 0, token 1"))' \
        --ref $story/story-i2_s.logits.f32 $raw --prompts "$top/prompts" -n 1
    judge "saved logits" 0 '.logits.equal and .logits.of == "logits" and .greedy == null' --ref "$top/f32"
    judge "saved log-probabilities" 0 '.logits.of == "log-probabilities" and .logits.max_difference < 1e-3' \
        --ref "$top/u16"
    run crossval --ref "$top/f32"
    same "the page" "0 within the limits 1 1" "$status $(tail -n 1 "$top/out") $(
        grep -c '^greedy        not offered$' "$top/out") $(grep -c '^largest       0: equal$' "$top/out")"

    refused "a damaged reference" 2 "row 92: damaged" crossval --ref "$top/bad"
    refused "floats without tokens" 2 "it needs --tokens" crossval --ref $story/story-i2_s.logits.f32
    head -n 9 $story/story-i2_s.jsonl > "$top/nine"
    refused "floats of other tokens" 2 "bytes, expected" \
        crossval --ref $story/story-i2_s.logits.f32 --tokens "$top/nine"
    echo '{"ids":[1,2,99999]}' > "$top/nine"
    refused "tokens beyond the vocabulary" 2 "text 0: token 2: expected an id of 0 to 2047" \
        crossval --ref $story/story-i2_s.logits.f32 --tokens "$top/nine"
}
refused "no reference" 2 "expected --ref" crossval
refused "a reference that is not there" 2 "cannot open" crossval --ref /nonexistent
refused "a limit out of range" 2 "expected 0 to 1" crossval --ref "$top/f32" --min-correlation 2
printf '[crossval]\nmin_correlation = high\n' > "$top/limits.ini"
refused "a limit that is no number" 2 "limits.ini:2: crossval.min_correlation: .*not a number" \
    crossval --ref "$top/f32" --conf "$top/limits.ini"
refused "nobody listens" 2 "http://127.0.0.1:1/v1/models: " crossval --ref http://127.0.0.1:1

# ---- crossval: endpoints ----

server_start || exit 1
judge "bitnetd, another plugin" 0 '.within and .logits.equal and .logits.correlation == 1 and .logits.topk == 1
    and .logits.n_position > 30 and .greedy.share == 1 and .greedy.unit == "tokens"
    and .token_ids.n_equal == 2 and .ref_model == "story" and .speed.there.decode_tok_s > 0' \
    --ref "$url/v1" --plugin $ref -n 8 -k 20 --texts 2
judge "bitnetd, another model" 1 '.logits.correlation < 0.99 and .greedy.share < 1' \
    --ref "$url" -m tests/golden/models/story-iq2_s.gguf -n 8 --texts 3

endpoint_start()                    # MODE
{
    node tests/e2e/clients/endpoint.mjs "$1" "$url" > "$top/endpoint" 2> "$top/endpoint.err" &
    other=$!
    for _ in $(seq 600); do
        grep -q http "$top/endpoint" && break
        sleep 0.05
    done
    at=$(cat "$top/endpoint")
}
endpoint_stop() { kill "$other"; wait "$other" 2> /dev/null; }

if command -v node > /dev/null; then
    while read -r mode speed; do
        endpoint_start "$mode"
        judge "llama-server's interface: $mode" 0 ".within and .logits.max_difference < 1e-5 and
            .greedy.share == 1 and .greedy.unit == \"tokens\" and .token_ids.n_equal == 2 and
            .logits.n_position == 12 and (.speed.there.prompt_tok_s == $speed)" \
            --ref "$at" -n 6 --texts 2
        endpoint_stop
    done << 'END'
llama null
native 1234.5
older 1234.5
END
    endpoint_start text
    refused "an endpoint of texts alone" 2 "offers no log-probabilities" crossval --ref "$at" -n 6 --texts 2
    judge "an endpoint of texts alone, judged by them" 0 '.logits == null and .token_ids == null
        and .greedy.unit == "bytes" and .greedy.share == 1' \
        --ref "$at" -n 6 --texts 2 --min-correlation 0 --min-greedy 1
    endpoint_stop
    while IFS=: read -r mode pattern; do
        endpoint_start "$mode"
        refused "an endpoint: $mode" 2 "$pattern" crossval --ref "$at" -n 4 --texts 1 --timeout 1
        endpoint_stop
    done << 'END'
nothing:expected an endpoint with one of them
garbage:no JSON object
lie:a log-probability of 0.5
beyond:another model
huge:an answer of more than
head:an answer of more than
hang:[Tt]imed* *out
moved:status 302
END
else
    echo "no node: endpoints that are not bitnetd were not tried"
fi
server_stop

server_verdict
