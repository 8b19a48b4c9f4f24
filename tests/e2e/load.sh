#!/bin/bash
# load.sh BUILD - `bitnet load` against bitnetd: many clients, each with its own text.
# Under ThreadSanitizer a report ends the server, and with it what it was to answer.
set -u
build=$1
. "$(dirname "$0")/server_lib.sh"

load() { timeout 120 "$bitnet" load -u "$url" "$@" > "$top/load" 2> "$top/load.err"; }
field() { jq -r "$1" "$top/load"; }

conf() { printf '[engine]\nmax_seq = 16\ndraft = 4\n[server]\ndrain_s = %s\n' "$1" > "$top/bitnetd.ini"; }
conf 60
server_start --conf "$top/bitnetd.ini" || exit 1

# Closed loop: shared prefixes, clients that leave, half of them sampling, guesses.
# Beside it requests with a grammar, readers of metrics, and reloads.
grammar='{"prompt":"A","max_tokens":24,"temperature":0.9,"seed":5,"n_draft":3,
    "grammar":"root ::= \"{\" [a-z]{1,9} (\",\" [a-z]{1,9}){0,9} \"}\""}'
ask() { curl -sS -m 60 "$url/v1/completions" -d "$grammar" | jq -c '.choices[0].text'; }
metrics() { curl -sS -m 60 "$url/metrics"; }
beside()                            # until the load has ended: what was not as it is alone
{
    local n=0
    while kill -0 "$1" 2> /dev/null; do
        [ "$(ask)" = "$want" ] || echo grammar
        grep -q '^bitnetd_generated_tokens_total [1-9]' <<< "$(metrics)" || echo metrics
        conf $((60 + n++ % 2))
        kill -HUP "$pid"
    done
    [ $n -gt 0 ] && grep -q 'reload: .*changed: server.drain_s' "$top/err" || echo reload
}
want=$(ask)
load -c 24 -n 150 -p 4-80 -g 1-40 --plans 30 --share 0.5 --share-tokens 40 --leave 0.2 --temp 0.9 \
    --seed 7 --check --json &
client=$!
hurt=$(beside $client)
wait $client
same "24 clients: exit code" 0 $?
same "24 clients: grammars, metrics, reloads beside them" "" "$hurt"
same "24 clients: tokens were guessed" 1 "$(metrics | grep -c '^bitnetd_draft_tokens_total [1-9]')"
same "24 clients: nothing failed, was lost, or crossed" "150 0 0 0 0" \
    "$(field '.requests | "\(.sent) \(.refused) \(.failed) \(.lost) \(.wrong)"')"
same "24 clients: some left early" true "$(field '.requests | .left > 0 and .done + .left == .sent')"
same "24 clients: shared prefixes were found in the cache" true "$(field '.cached_tokens > 0')"
same "24 clients: percentiles ascend" true \
    "$(field '[.ttft_ms, .itl_ms, .e2e_ms | .p50 <= .p90 and .p90 <= .p99 and .p99 <= .max] | all')"

# The same seed sends the same.
load -c 3 -n 20 -p 10 -g 5 --seed 3 --json
first=$(field '[.prompt_tokens, .new_tokens] | tostring')
load -c 5 -n 20 -p 10 -g 5 --seed 3 --json
same "same seed, same traffic" "$first" "$(field '[.prompt_tokens, .new_tokens] | tostring')"

# Open loop, and goodput that nobody can reach.
load --rate 50 -n 40 -p 4-16 -g 2-8 --ttft 0.0001 --json
same "open loop: all answered, none in time" "40 0" "$(field '"\(.requests.done) \(.goodput_per_second)"')"

# SIGTERM: those that run are finished.
for i in 1 2 3 4 5 6; do
    curl -sS -N -m 60 "$url/v1/completions" -d '{"prompt":"Once","max_tokens":60,"stream":true}' \
        > "$top/last.$i" &
    last[i]=$!
done
for _ in $(seq 400); do [ "$(cat "$top"/last.* | grep -c '^data')" -ge 6 ] && break; sleep 0.01; done
server_stop
wait "${last[@]}"
same "SIGTERM under load: status 0, whole answers" "0 6" "$status $(grep -l DONE "$top"/last.* | wc -l)"

# A server that dies is noticed, and not asked for ever.
server_start --set engine.max_seq=16 || exit 1
"$bitnet" load -u "$url" -c 8 -n 1000000 -p 8 -g 400 --json > "$top/cut" 2> "$top/cut.err" &
client=$!
sleep 1
kill -9 "$pid"
wait "$pid" 2> /dev/null
pid=
wait "$client"
same "killed server: exit code" 1 $?
same "killed server: what was under way counts as lost" true "$(jq .requests.lost\>0 "$top/cut")"
load -n 1
same "no server: exit code" 1 $?
same "no server: one line" 1 "$(grep -c "$url" "$top/load.err")"

load -p 0
same "bad range: exit code" 2 $?
server_verdict
