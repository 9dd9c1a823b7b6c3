# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# Layer md: refused. An array has one superblock a disk and no notion of another host: two nodes that
# assemble it resync against each other, and a failed disk is known to one of them only.

md_needs() {
    problem "LAYERS: md cannot be shared safely: nothing keeps two hosts from assembling it. Let the storage" \
        "mirror, or use DRBD or an LVM mirror"
}
md_below() { :; }
md_take() { md_needs; exit 1; }
md_proven() { return 3; }
md_give_up() { :; }
