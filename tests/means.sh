#!/bin/sh
# Sees to it that everything the tests and the demo need is on this machine.
#
# As root on Debian or Ubuntu it installs what is missing and says so; no package may start a server
# meanwhile (a policy-rc.d of ours stands in, and goes again whatever happens). Otherwise it names
# what is missing and fails.
set -eu

# COMMAND, or a file, PACKAGE what for
NEEDS='
keepalived  keepalived   the peer that glha has to get on with
nginx       nginx-light  the service of the demo
mandoc      mandoc       checks the manual pages
shellcheck  shellcheck   checks the shell scripts
dash        dash         the shell the hooks are tested under
python3     python3      runs examples of the manual pages, and the benchmarks
fuser       psmisc       mount.sh ends what holds the disk
ps          procps       the scripts of the original configuration
ip          iproute2     namespaces, bridges, addresses
nft         nftables     drops packets for no_accept
mkfs.ext4   e2fsprogs    the shared disk
unshare     util-linux   hosts of the tests
losetup     mount        the shared disk
busybox     busybox      the shell of small systems, for the hooks
mkfs.xfs    xfsprogs     another file system on the shared disk
mkfs.btrfs  btrfs-progs  and another
dh          debhelper    builds the package
rpmbuild    rpm          builds the other package
systemd-analyze systemd  judges the units
man         man-db       shows the manual as a person reads it
zsh         zsh          completes the command line
fish        fish         the same
lintian     lintian      judges the package
rpmlint     rpmlint      judges the other package
strip       binutils     makes packages of a test small
strace      strace       holds up system calls
cc          gcc          makes a module of a test
curl        curl         asks the service as clients and check.sh do
wget        wget         the same
/usr/lib/frr/bfdd frr  another peer of BFD sessions
/etc/protocols netbase   the names of protocols, for nft and captures
'

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
POLICY=/usr/sbin/policy-rc.d
SAVED=$POLICY.before-glha-tests
MARK='# glha tests: no package starts a server now'

say() {
    printf 'means: %s\n' "$*"
}

# Prints those lines of NEEDS whose command is not here.
missing() {
    printf '%s' "$NEEDS" | while read -r command package reason; do
        [ -n "$command" ] || continue
        [ -e "$command" ] || command -v "$command" >/dev/null || printf '%s %s %s\n' "$command" "$package" "$reason"
    done
}

# Takes our policy away and brings back the one that was there.
restore_policy() {
    if grep -qsF "$MARK" "$POLICY"; then
        rm -f "$POLICY"
    fi
    if [ -e "$SAVED" ] || [ -L "$SAVED" ]; then
        mv -f "$SAVED" "$POLICY"
    fi
}

forbid_servers() {
    # Left behind by a run that was killed.
    restore_policy
    if [ -e "$POLICY" ] || [ -L "$POLICY" ]; then
        mv "$POLICY" "$SAVED"
    fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$MARK" >"$POLICY"
    chmod 755 "$POLICY"
}

install_packages() {
    trap restore_policy EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    forbid_servers
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q -o DPkg::Lock::Timeout=300 update
    apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install "$@"
    restore_policy
    trap - EXIT HUP INT TERM
}

see_to_packages() {
    lacking=$(missing)
    [ -n "$lacking" ] || return 0
    packages=$(printf '%s\n' "$lacking" | cut -d ' ' -f 2 | sort -u | tr '\n' ' ')
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        say 'missing, and not root on a Debian or Ubuntu, so not installed:'
        printf '%s\n' "$lacking" | while read -r command package reason; do
            say "  $command (package $package): $reason"
        done
        exit 1
    fi
    say "installing: $packages"
    # One package a word.
    # shellcheck disable=SC2086
    install_packages $packages
    say "installed: $packages(no server was started)"
    lacking=$(missing)
    if [ -n "$lacking" ]; then
        say "still missing after the installation: $lacking"
        exit 1
    fi
}

# rustfmt and clippy belong to the usual toolchain; a minimal one gets them from rustup.
see_to_component() {
    command -v cargo >/dev/null || {
        say 'cargo is missing: install a Rust toolchain, https://rustup.rs'
        exit 1
    }
    cargo "$1" --version >/dev/null 2>&1 && return 0
    if command -v rustup >/dev/null && rustup component add "$2"; then
        say "installed: the toolchain's $2"
        return 0
    fi
    say "cargo $1 is missing: rustup component add $2, or your distribution's package of it"
    exit 1
}

see_to_component fmt rustfmt
see_to_component clippy clippy
see_to_packages
