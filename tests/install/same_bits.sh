#!/bin/bash
# same_bits.sh - the logits of a real model are the same bytes on both
# architectures.
#
#   same_bits.sh BUILD AARCH64-BUILD SYSROOT
#
# Prints "ok NAME" or "not ok NAME" per test. The AArch64 programs run under
# qemu-user.
set -u
native=$1
cross=$2
sysroot=$3
out=$(mktemp -d) || exit 2
trap 'rm -rf "$out"' EXIT

logits() { "${@:3}" logits -m "$1" -p 'Once upon a time there was a' -o "$out/$2"; }

for model in models/story.gguf tests/golden/models/*.gguf; do
    name="logits of ${model##*/}"
    rm -f "$out"/*
    if logits "$model" native.f32 "$native/bin/bitnet" &&
        logits "$model" cross.f32 qemu-aarch64 -L "$sysroot" "$cross/bin/bitnet" &&
        [ -s "$out/native.f32" ] && cmp "$out/native.f32" "$out/cross.f32"; then
        echo "ok $name"
    else
        echo "not ok $name"
    fi
done
