#!/bin/sh
# Runs every cargo test. Usage: tests/all.sh [CARGO]
#
# Tests in network namespaces (they say `mod lab;`) run three at a time: they mostly wait, but more
# would make their nodes miss adverts on a small machine; all others run as cargo likes. Everything
# runs, even after a failure.
set -eu
cd "$(dirname "$0")/.."
cargo=${1:-cargo}
# Where the tools of a host are, whoever has started this: cron's PATH is shorter than root's.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

ordinary='' namespaces=''
for file in tests/*.rs; do
    name=${file##*/}
    name=${name%.rs}
    if grep -q '^mod lab;' "$file"; then
        namespaces="$namespaces --test $name"
    else
        ordinary="$ordinary --test $name"
    fi
done

status=0
# The lists are split on purpose: one option and one name after another.
# shellcheck disable=SC2086
"$cargo" test --locked --no-fail-fast --lib --bins --examples $ordinary || status=1
"$cargo" test --locked --doc || status=1
if [ -n "$namespaces" ]; then
    # shellcheck disable=SC2086
    "$cargo" test --locked --no-fail-fast $namespaces -- --test-threads=3 || status=1
fi
exit $status
