# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# btrfs: the kernel has to know all devices of a file system before it can mount it.

btrfs_needs() { has_tool btrfs || problem "btrfs is missing: install btrfs-progs"; }
btrfs_take() { bounded 10 btrfs device scan "$1" >/dev/null || say "btrfs device scan $1 failed"; }
btrfs_has_turned_clean() { return 1; }
btrfs_refused() { return 1; }
btrfs_mounted() { :; }
btrfs_proven() { return 2; }
