#!/bin/bash
# same_bits.sh - the logits of real models are the same bytes from two builds.
#
#   same_bits.sh BUILD OTHER-BUILD [EMULATOR...]
#
# Prints "ok NAME" or "not ok NAME" per test. The emulator starts the programs of
# the other build.
set -u
one=$1
other=$2
shift 2
out=$(mktemp -d) || exit 2
trap 'rm -rf "$out"' EXIT

logits() { "${@:3}" logits -m "$1" -p 'Once upon a time there was a' -o "$out/$2"; }

for model in models/story.gguf tests/golden/models/*.gguf; do
    name="$other: logits of ${model##*/}"
    rm -f "$out"/*
    if logits "$model" one.f32 "$one/bin/bitnet" &&
        logits "$model" other.f32 "$@" "$other/bin/bitnet" &&
        [ -s "$out/one.f32" ] && cmp "$out/one.f32" "$out/other.f32"; then
        echo "ok $name"
    else
        echo "not ok $name"
    fi
done
