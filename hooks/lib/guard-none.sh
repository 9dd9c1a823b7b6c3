# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# Guard none: mounts after a proven release, or when the administrator accepts the risk.
#
# What a guard has; the storage is known by $held_devices, `each_line` and `all_bottoms`:
#   NAME_needs    tells, by `problem`, what is missing here; changes nothing
#   NAME_take     returns only with the proof that no other node uses the storage; else it ends with
#                 `fail`, or with `later` if a living node holds it
#   NAME_proven   LOOKS: is it still ours alone? 0 yes, 2 cannot be proven, 3 it is not so, and says why
#   NAME_give_up  after everything is unmounted; what stays behind must do no harm

none_needs() { :; }
none_take() {
    devices=$(names_of_devices)
    is_proven_or_accepted || fail "no proof that the other node has let go of $devices, and GUARD is none: not mounting." \
        "Make sure by hand that it is mounted nowhere else, then say so: glha released $name"
}
none_proven() { return 2; }
none_give_up() { :; }
