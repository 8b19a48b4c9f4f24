#!/bin/sh
# spills.sh - no sum leaves its register in the loops of the ternary kernels.
#
#   spills.sh FILE.o...
#
# A loop is from the target of a backward jump to the jump; those with a product
# of bytes in them and no smaller loop inside are looked at. A store of a vector
# to the stack is a spill, and halves the speed of a kernel that still gives the
# right numbers: no other test would see it. Constants may come from memory.
set -u
found=0
for object; do
    objdump -d --no-show-raw-insn "$object" | awk -v file="${object##*/}" '
        /^[0-9a-f]+ </ { name = $2; n = 0; loop_from = -1; split("", at); next }
        /^ *[0-9a-f]+:/ {
            address = $1; sub(/:$/, "", address)
            at[address] = ++n
            line[n] = $0
            if ($2 ~ /^j/ && ($3 in at) && at[$3] > loop_from) {
                loop_from = at[$3]
                products = 0
                for (i = loop_from; i <= n; i++)
                    products += line[i] ~ /vpdpbusd|vpmaddubsw/
                n_loops += products > 0
                for (i = loop_from; i <= n && products; i++)
                    if (line[i] ~ /%[xyz]mm[0-9]+,-?(0x[0-9a-f]+)?\(%r[sb]p\)/) {
                        print file ": " name " a sum goes to memory in the inner loop: " line[i]
                        bad = 1
                    }
            }
        }
        END {
            if (!n_loops && !bad) { print file ": no loop with a product of bytes"; bad = 1 }
            exit bad
        }' || found=1
done
exit $found
