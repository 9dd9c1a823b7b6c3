#!/bin/sh
# What `make vm` needs beyond the means of the other tests: as there, root on Debian or Ubuntu gets what is
# missing, anybody else is told.
set -eu

# COMMAND PACKAGE what for
NEEDS='
qemu-system-x86_64 qemu-system-x86 the two machines
qemu-img           qemu-utils      their own disks
debootstrap        debootstrap     the Debian in them
mkfs.ext4          e2fsprogs       the shared disk
ip                 iproute2        their network
setpriv            util-linux      ends them with the test
dh                 debhelper       builds the package
'

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

missing() {
    printf '%s' "$NEEDS" | while read -r command package reason; do
        [ -z "$command" ] || command -v "$command" >/dev/null || printf '%s %s %s\n' "$command" "$package" "$reason"
    done
}

if [ "$(id -u)" -ne 0 ]; then
    echo 'means: make vm has to be root: it makes network namespaces and a tree of Debian' >&2
    exit 1
fi
lacking=$(missing)
[ -n "$lacking" ] || exit 0
# All of them, also those that are there: of one source, apt would take an older one away for a newer one.
packages=$(printf '%s' "$NEEDS" | awk 'NF { print $2 }' | sort -u | tr '\n' ' ')
if ! command -v apt-get >/dev/null; then
    printf 'means: missing, and no apt-get to install it:\n%s\n' "$lacking" >&2
    exit 1
fi
echo "means: installing: $packages"
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=300 update
# One package a word.
# shellcheck disable=SC2086
apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install $packages
lacking=$(missing)
if [ -n "$lacking" ]; then
    printf 'means: still missing after the installation:\n%s\n' "$lacking" >&2
    exit 1
fi
