#!/bin/bash
# chat.sh - `bitnet chat`: what it says is what the server says, and what was said
# is kept.
#
#   chat.sh BUILD
#
# shellcheck disable=SC2034,SC2154   # server_lib.sh reads build, sets bitnet, top
set -u
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh
# shellcheck source=tests/e2e/tools_lib.sh
. tests/e2e/tools_lib.sh

stdin=$top/said
talk()                              # LINES ARGUMENT...; sets out, err, status
{
    printf '%s\n' "$1" > "$stdin"
    shift
    run chat --template plain --seed 5 -n 16 "$@"
}
roles() { jq -r '[.[].role] | join(" ")' "$1"; }

# ---- the same as over HTTP ----

talk "Who is the fox?
And then?
/save $top/two" --timings --system "You know foxes."
same "two turns" 0 "$status"
same "what is kept" "system user assistant user assistant" "$(roles "$top/two")"
same "what is kept was said" "$(jq -r '.[] | select(.role == "assistant") | .content' "$top/two")" \
    "$(cat "$top/out")"
same "the second turn reads only what is new" 1 "$(grep -c 'of them known' "$top/err")"
server_start --set chat.template=plain || exit 1
for i in 1 2; do
    same "answer $i is the server's" "$(jq -r ".[$((2 * i))].content" "$top/two")" \
        "$(jq "{messages: .[:$((2 * i))], max_tokens: 16, seed: 5}" "$top/two" |
            curl -sS "$url/v1/chat/completions" -d @- | jq -r '.choices[0].message.content')"
done
server_stop

# ---- commands ----

talk "/load $top/two
And the bear?
/save $top/three"
same "load: goes on" "system user assistant user assistant user assistant" "$(roles "$top/three")"
talk "Who is the fox?
And then?
And the bear?
/save $top/whole" --system "You know foxes."
same "load: as without a break" "$(cat "$top/whole")" "$(cat "$top/three")"
talk "Who?
/retry
/save $top/retry"
same "retry: one answer is kept" "user assistant" "$(roles "$top/retry")"
printf '%s\n' 'Who?' "/save $top/seed6" | "$bitnet" chat --template plain --seed 6 -n 16 > /dev/null
same "retry: with the next seed" "$(cat "$top/seed6")" "$(cat "$top/retry")"
talk "One
/reset
/system Be short.
Two
/system
/save $top/reset"
same "reset and system" "user:Two assistant" \
    "$(jq -r '[.[0].role + ":" + .[0].content, .[1].role] | join(" ")' "$top/reset")"
talk "/quit
Who?"
same "quit: nothing after it" "0 0" "$status $(wc -c < "$top/out")"
talk "/help"
same "help" 6 "$(grep -c '^/' "$top/out")"

# ---- a full context ----

talk "One one one one one one
Two two two two two two
Three three three three
Four four four four four
/save $top/full" --ctx 64
same "full: goes on" 0 "$status"
same "full: says so" yes "$(grep -q '^bitnet: context of 64 tokens is full: the oldest [0-9]* messages' \
    "$top/err" && echo yes)"
same "full: the last turn is there, the first is not" "true 0" "$(jq -r '"\(.[-2].content |
    startswith("Four")) \([.[] | select(.content | startswith("One"))] | length)"' "$top/full")"

# ---- Ctrl-C ----

ref=org.bitnetd.scalar-ref
mkfifo "$top/fifo"
"$bitnet" chat --template plain -n 900 --plugin $ref < "$top/fifo" > "$top/out" 2> "$top/err" &
pid=$!
exec 9> "$top/fifo"
echo "Tell me a long story." >&9
for _ in $(seq 200); do
    [ "$(wc -c < "$top/out")" -gt 20 ] && break
    sleep 0.05
done
kill -INT $pid
sleep 0.3
printf '%s\n' "/save $top/stopped" >&9
exec 9>&-
server_wait
same "interrupted: goes on" 0 "$status"
same "interrupted: what was said is kept" "$(cat "$top/out")" "$(jq -r '.[1].content' "$top/stopped")"
same "interrupted: it was not all" yes \
    "$([ "$(jq -r '.[1].content | length' "$top/stopped")" -lt 1500 ] && echo yes)"

# ---- what is refused ----

stdin=/dev/null
refused "no template" 2 "template.*not known.*llama3" chat
refused "unknown template" 2 "template.*jinja.*llama3" chat --template jinja
refused "--json" 2 "json" chat --template plain --json
refused "a word" 2 "unexpected" chat --template plain hello
stdin=$top/said
echo '/nosuch' > "$stdin"
refused "unknown command" 2 "/nosuch.*help" chat --template plain
echo "/load $top/nosuch" > "$stdin"
refused "load: no file" 1 "nosuch" chat --template plain
echo "/load $top/bad" > "$stdin"
for bad in '' '{}' '[1]' '[{"role":"bear","content":"x"}]' '[{"role":"user","content":1}]' \
    '[{"role":"user","content":"x"},{"role":"system","content":"x"}]'; do
    echo "$bad" > "$top/bad"
    refused "load: $bad" 1 "bad: .*expected" chat --template plain
done

server_verdict
