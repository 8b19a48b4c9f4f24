#!/bin/sh
# perplexity.sh BUILD DIR - by hand, some minutes: the story model in each file of
# DIR (*.gguf), over the whole held-out text. An independent C++ runtime has
# 34.71 for I2_S, Q4_K_S and Q8_0, 34.72 for Q5_1, 38.06 for IQ2_S, and 34.70 for
# F16, BF16, TQ1_0 and TQ2_0; another one 34.70 for IQ2_BN_R4. For the rest, which
# hold the same ternary weights, no other's figure is known: 34.70 is expected. An
# embedding of other precision (emb-) is another model: shown, not judged.
set -eu
bitnet=$(cd "$1" && pwd)/bin/bitnet
dir=$(cd "$2" && pwd)
cd "$(dirname "$0")/../.."
n_failed=0
printf '%-34s %10s %8s %8s  %s\n' file perplexity error expected within
for f in "$dir"/*.gguf; do
    name=$(basename "$f" .gguf)
    layout=a
    case $name in
    *-emb-*) want=- ;;
    *iq2_s) want=38.06 ;;
    *q5_1) want=34.72 ;;
    *i2_s* | *story-q4_k_s | *story-q8_0) want=34.71 ;;
    *) want=34.70 ;;
    esac
    case $name in
    *layout-b) layout=b ;;
    *layout-c) layout=c ;;
    esac
    figures=$("$bitnet" perplexity -m "$f" --i2s-layout $layout -f tests/golden/story/val.txt \
        -o json | sed 's/.*"perplexity":\([0-9.]*\),"error":\([0-9.]*\).*/\1 \2/')
    [ -n "$figures" ] || figures='0 0'
    # shellcheck disable=SC2086   # two words
    set -- $figures
    verdict='not judged'
    [ $want = - ] || verdict=$(awk -v p="$1" -v w="$want" 'BEGIN { r = p / w - 1
        printf "%+.3f %%%s", 100 * r, (r > -0.005 && r < 0.005) ? "" : " NOT" }')
    printf '%-34s %10.4f %8.4f %8s  %s\n' "$name" "$1" "$2" "$want" "$verdict"
    case $verdict in *NOT) n_failed=$((n_failed + 1)) ;; esac
done
[ $n_failed -eq 0 ]
