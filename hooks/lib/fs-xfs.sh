# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# XFS: mount(8) replays the log; xfs_repair is for a person, never for a hook. It has nothing like MMP.

xfs_needs() { has_tool xfs_repair || advice "xfs_repair is missing: install xfsprogs, to be ready for a bad day"; }
xfs_take() { :; }
xfs_has_turned_clean() { return 1; }
xfs_refused() { return 1; }
xfs_mounted() { :; }
xfs_proven() { return 2; }
