#!/bin/sh
# Runs every cargo test. Usage: tests/all.sh [CARGO]
#
# Tests in network namespaces (they say `mod lab;`) run three at a time: they mostly wait, but more
# would make their nodes miss adverts on a small machine, so the lab has three places for all of them.
# Two files run side by side, so that nobody's place is empty while the last test of a file takes its
# time; one that says so runs alone, at the end. All others run as cargo likes. Everything runs, even
# after a failure.
set -eu
cd "$(dirname "$0")/.."
cargo=${1:-cargo}
# Where the tools of a host are, whoever has started this: cron's PATH is shorter than root's.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

ordinary='' namespaces='' alone=''
for file in tests/*.rs; do
    name=${file##*/}
    name=${name%.rs}
    if grep -q '^//! Runs alone' "$file"; then
        alone="$alone --test $name"
    elif grep -q '^mod lab;' "$file"; then
        namespaces="$namespaces $name"
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
    outputs=$(mktemp -d)
    trap 'rm -rf "$outputs"' EXIT
    # shellcheck disable=SC2086
    options=$(printf ' --test %s' $namespaces)
    # shellcheck disable=SC2086
    "$cargo" test --locked --no-run $options || status=1
    # What each says comes when it has ended, whole.
    # shellcheck disable=SC2016,SC2086
    printf '%s\n' $namespaces | xargs -P 2 -I NAME sh -c '
        "$1" test --locked --test "$2" -- --test-threads=3 >"$3/$2" 2>&1
        status=$?
        cat "$3/$2"
        exit $status
    ' sh "$cargo" NAME "$outputs" || status=1
fi
# shellcheck disable=SC2086
"$cargo" test --locked --no-fail-fast $alone || status=1
exit $status
