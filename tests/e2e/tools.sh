#!/bin/bash
# tools.sh - `bitnet` as its users meet it: results that hold, and one line when
# something is wrong.
#
#   tools.sh BUILD
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

# ---- tokenize ----

for kind in llama-bpe:llama3-vocab llama-spm:llama2-spm-vocab; do
    name=${kind%:*}
    mkdir "$top/$name"
    awk -v RS='\n__ggml_vocab_test__\n' -v d="$top/$name" \
        '{ printf "%s", $0 > (d "/" NR) }' "tests/golden/tokenizer/$name.inp"
    n=$(wc -l < "tests/golden/tokenizer/$name.out")
    same "$name: all texts are there" "$n" "$(find "$top/$name" -type f | wc -l)"
    for i in $(seq "$n"); do
        "$bitnet" tokenize -m "tests/golden/tokenizer/${kind#*:}.gguf" --no-bos --ids \
            < "$top/$name/$i"
    done > "$top/ids" 2> /dev/null
    same "$name: ids equal the published ones" \
        "$(sed 's/ *$//; s/^ *//' "tests/golden/tokenizer/$name.out")" "$(cat "$top/ids")"
done

i=0
while IFS= read -r prompt; do
    want=$(jq -r "select(.prompt_index == $i) | .ids | join(\" \")" $story/story-i2_s.jsonl)
    same "golden prompt $i: ids" "$want" "$("$bitnet" tokenize --ids -- "$prompt")"
    same "golden prompt $i: back to text" "$prompt" "$("$bitnet" tokenize --decode "$want")"
    i=$((i + 1))
done < $story/prompts.txt

printf 'caf\303\251 \360\237\220\273\n\ttab \377 end' > "$top/bytes"
"$bitnet" tokenize --no-bos --ids < "$top/bytes" | "$bitnet" tokenize --decode - > "$top/back"
if cmp -s "$top/bytes" "$top/back"; then ok "bytes come back"; else not_ok "bytes come back"; fi
same "tokenize --json" '[2040,2012,362]' "$("$bitnet" tokenize --json --ids Once)"
same "special tokens only when asked" "$(printf '2040\n2040')" \
    "$("$bitnet" tokenize --special --no-bos --ids '<|begin_of_text|>'
       "$bitnet" tokenize --ids '<|begin_of_text|>' | tr ' ' '\n' | grep -x 2040)"

# ---- run ----

# A text in one go, and in two with another plugin each: the same tokens, drawn
# from the same seed, so the same files.
two="-p Once -n 12 --seed 7 --ignore-eog"
"$bitnet" run -p Once -n 24 --seed 7 --ignore-eog --save-session "$top/whole" > /dev/null 2>&1
# shellcheck disable=SC2086
"$bitnet" run $two --save-session "$top/half" > /dev/null 2>&1
"$bitnet" run --session "$top/half" -n 12 --ignore-eog --plugin $ref \
    --save-session "$top/both" > /dev/null 2>&1
if cmp -s "$top/whole" "$top/both"; then ok "session: goes on elsewhere"
else not_ok "session: goes on elsewhere"; fi
"$bitnet" run --session "$top/half" -p ' there' -n 1 --save-session "$top/more" > /dev/null 2>&1
same "session: a prompt comes behind it" \
    $(($(stat -c %s "$top/half") + 4 * (1 + $("$bitnet" tokenize --no-bos --ids ' there' | wc -w)))) \
    "$(stat -c %s "$top/more")"
printf x | dd of="$top/more" bs=1 seek=60 conv=notrunc 2> /dev/null
refused "session: damaged" 1 "more: damaged" run --session "$top/more" -n 1
refused "session: of another model" 1 "half: of another model" run --session "$top/half" \
    --activation silu -n 1
refused "session: not one" 1 "not a session" run --session models/story.gguf -n 1
refused "session: cannot be written" 1 "/none/x.*cannot create" run -p x -n 1 --json \
    --save-session "$top/none/x"

# golden/logits measures how far this holds, and why it ends where it does.
i=0
while IFS= read -r prompt; do
    greedy=$(jq -r "select(.prompt_index == $i) | .greedy[:16] | join(\" \")" \
        $story/story-i2_s.jsonl)
    same "golden prompt $i: greedy text of 16 tokens" \
        "$("$bitnet" tokenize --decode "$greedy"; echo .)" \
        "$("$bitnet" run --temp 0 -n 16 -p "$prompt" --json 2> /dev/null | jq -j .text; echo .)"
    i=$((i + 1))
done < $story/prompts.txt

once() { "$bitnet" run -p 'Once upon a time' -n 24 "$@" 2> /dev/null; }
seven=$(once --seed 7)
same "same seed, same text" "$seven" "$(once --seed 7)"
same "threads change nothing" "$seven" "$(once --seed 7 --threads 3)"
same "the reference plugin gives that text" "$seven" "$(once --seed 7 --plugin $ref)"
same "no instruction set changes it" "$seven" "$(once --seed 7 --isa baseline)"
same "--json has that text" "$seven" "$(once --seed 7 --json | jq -r .text)"
same "a prompt from a file" "$seven" \
    "$(printf 'Once upon a time' | "$bitnet" run --file - -n 24 --seed 7 2> /dev/null)"
if [ "$seven" != "$(once --seed 8)" ]; then ok "another seed"; else not_ok "another seed"; fi
stop=$(printf '%s' "$seven" | head -n 1 | cut -c 8-12)
same "a stop text cuts" "${seven%%"$stop"*}" "$(once --seed 7 --stop "$stop")"
run run -p Once -n 3
same "timing goes to standard error" 1 "$(grep -c '^bitnet: prompt .*; end: length$' "$top/err")"

# ---- logits ----

ids=2040,2012,362,1978,258,545,455,311,258,390
"$bitnet" logits --ids $ids -o "$top/a.f32" 2> /dev/null
same "logits: a row of n_vocab f32 per token" $((10 * 2048 * 4)) "$(stat -c %s "$top/a.f32")"
for how in "--chunk 1" "--chunk 7" "--threads 3" "--plugin $ref" "--isa baseline"; do
    # shellcheck disable=SC2086
    "$bitnet" logits --ids $ids -o "$top/b.f32" $how 2> /dev/null
    if cmp -s "$top/a.f32" "$top/b.f32"; then ok "logits: the same bits with $how"
    else not_ok "logits: the same bits with $how"; fi
done
"$bitnet" logits -p 'Once upon' -o - 2> /dev/null > "$top/b.f32"
if cmp -s -n $((4 * 2048 * 4)) "$top/a.f32" "$top/b.f32"; then ok "logits: of a text, to a pipe"
else not_ok "logits: of a text, to a pipe"; fi
same "logits --json" "$ids" \
    "$("$bitnet" logits --ids $ids -o "$top/b.f32" --json 2> /dev/null | jq -r '.ids|join(",")')"

# ---- inspect ----

run inspect models/story.gguf
same "inspect: it runs" "0 1" "$status $(grep -c '^runs: yes$' "$top/out")"
same "inspect --json: every tensor" 68 \
    "$("$bitnet" inspect --json models/story.gguf | jq '.tensors|length')"
same "inspect --json: the codes of a tensor are all its weights, none is 3" "[65536,0]" \
    "$("$bitnet" inspect --json models/story.gguf | jq -c '.tensors[] |
       select(.name == "blk.0.attn_q.weight").codes | [add, .[3]]')"
same "inspect --json: the one scale, the head's type, the memory" "[1,true,\"F16\",true]" \
    "$("$bitnet" inspect --json models/story.gguf | jq -c '[(.tensors[] |
       select(.name == "blk.0.attn_q.weight") | .n_scales, .scale_min == .scale_max),
       .model.head_type, .memory.total > .memory.kv + .memory.weights]')"
same "inspect --fast reads no weights" "0 yes" \
    "$("$bitnet" inspect --fast --json models/story.gguf |
       jq -r '"\([.tensors[] | select(has("codes"))] | length) \(.verdict)"')"
run inspect tests/golden/refused/code_3.gguf
same "inspect: a tensor that cannot be read, and figures of the others" "0 1 6" \
    "$status $(grep -c 'I2_S .*cannot be read: .*codes are 3' "$top/out") $(grep -c 'I2_S .*scale' "$top/out")"
run inspect tests/golden/refused/type_99.gguf
same "inspect: lists what cannot run, and says why" "0 1" \
    "$status $(grep -c '^runs: no: .*type' "$top/out")"

# ---- what goes wrong ----

refused "no verb" 2 "no verb"
refused "unknown verb" 2 "frob: unknown verb" frob
for verb in run tokenize logits inspect; do
    refused "$verb: unknown option" 2 "unknown option" $verb --frob
    case $verb in
    run) more=(-p x) ;;
    logits) more=(-p x -o "$top/x.f32") ;;
    *) more=() ;;
    esac
    refused "$verb: missing file" 1 "cannot open: No such file" $verb -m /nonexistent "${more[@]}"
    run $verb --help
    same "$verb: --help" "0 1" "$status $(grep -c "^usage: bitnet $verb " "$top/out")"
done
refused "a value is missing" 2 "its value is missing" run -p
refused "not a number" 2 "expected a whole number" run -p x -n many
refused "temperature out of range" 2 "temperature: -1 is out of range" run -p x --temp -1
refused "no prompt" 2 "no prompt" run
refused "two prompts" 2 "two prompts" run -p x --file y
refused "an empty stop text" 2 "stop\[0\]" run -p x --stop ''
refused "no output file" 2 "no --out" logits -p x
refused "bad ids" 2 "expected whole numbers" logits --ids 1,x -o "$top/x.f32"
refused "an id too large" 2 "token 1 is 2048" logits --ids 1,2048 -o "$top/x.f32"
refused "an id too large to decode" 2 "token ids: 2048" tokenize --decode 2048
yes word | head -n 3000 > "$top/long"
refused "a prompt beyond the context" 1 "token" run --file "$top/long" -n 4
refused "an unknown plugin" 1 "no plugin has this id" run -p x --plugin no.such.plugin
refused "no plugin directory" 1 "cannot open the plugin directory" run -p x --plugin-dir /nonexistent
refused "a folder that is no model" 1 "config.json: cannot open" run -p x -m /

size=$(stat -c %s models/story.gguf)
for n in 3 20 1000 $((size / 2)) $((size - 1)); do
    head -c "$n" models/story.gguf > "$top/cut.gguf"
    refused "a model of $n bytes" 1 "cut.gguf" run -p x -m "$top/cut.gguf"
done
for f in tests/golden/refused/*.gguf; do
    refused "refused: ${f##*/}" 1 "${f##*/}" run -p x -n 1 -m "$f"
done

for verb in "run -p x -n 2" "tokenize x" "inspect" "logits -p x -o -"; do
    # shellcheck disable=SC2086
    "$bitnet" $verb > /dev/full 2> "$top/err"
    same "$verb: standard output is full" "1 1" \
        "$? $(grep -c '^bitnet: .*cannot write: No space left' "$top/err")"
done
refused "logits: the disk is full" 1 "/dev/full: cannot write: No space" logits -p x -o /dev/full
mkdir "$top/dir"
(ulimit -f 8; "$bitnet" logits --ids $ids -o "$top/dir/x.f32" 2> "$top/err")
same "logits: nothing is left of a file that could not be finished" "1 1 0" \
    "$? $(grep -c '^bitnet: .*cannot write: File too large' "$top/err") $(find "$top/dir" -type f | wc -l)"
refused "logits: no such folder" 1 "cannot create" logits -p x -o "$top/none/x.f32"

"$bitnet" run -p Once -n 200 --ignore-eog 2> "$top/err" | head -c 1 > /dev/null
same "a reader that leaves ends it without a word" "1 0" \
    "${PIPESTATUS[0]} $(grep -vc '^bitnet: warning: ' "$top/err")"

server_verdict
