#!/bin/sh
# Does a program run with an old C library? glibc.sh PROGRAM VERSION fails, and names what it needs, if a
# function of it is newer.
set -eu
program=$1
oldest=$2

needs=$(objdump -T "$program" | sed -n 's/.*[( ]GLIBC_\([0-9][0-9.]*\).*/\1/p' | sort -Vu)
newest=$(printf '%s\n' "$needs" | tail -n 1)
if [ -z "$newest" ]; then
    echo "$program names no version of the C library" >&2
    exit 1
fi
if [ "$(printf '%s\n' "$newest" "$oldest" | sort -V | tail -n 1)" != "$oldest" ]; then
    echo "$program needs more than glibc $oldest:" >&2
    objdump -T "$program" | grep -F "GLIBC_$newest" >&2
    exit 1
fi
echo "$program needs glibc $newest"
