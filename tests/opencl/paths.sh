#!/bin/sh
# paths.sh BUILD [contexts] - the ways through the kernels that this device would
# not take by itself: products of bytes as a device with an instruction for them
# does them, division and square root in integers. Or a second context.
set -u
build=$1
plugins=$build/lib/bitnet/plugins
verify()
{
    "$build/bin/bitnet-plugins" verify --ref "$plugins/scalar-ref.so" "$@" "$plugins/opencl.so" ||
        exit 1
}

if "$build/bin/bitnet-plugins" list --fast --dir "$plugins" |
        grep '^opencl.so.*no device found'; then
    exit 77
fi
if [ "${2-}" = contexts ]; then
    verify --option contexts=2 --filter 'point 5 rows of 640'
    exit
fi
verify --option 'build_options=-DHAVE_DOT -DSOFT_DOT' --filter 'x 513,'
verify --option 'build_options=-DSOFT_DIV' --filter 'x 257,'
verify --option 'build_options=-DSOFT_DIV' --filter 'point 13 rows'
verify --option 'build_options=-DSOFT_DIV' --filter '4 heads over 2 of 32'
