# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# Guard scsi-pr: a SCSI-3 persistent reservation, write exclusive, registrants only, on every shared
# device below the mounts. It fences: what the other node writes is refused by the disk.

scsi_pr_needs() {
    if [ -n "$PR_COMMAND" ]; then
        has_tool "$PR_COMMAND" || problem "guard scsi-pr needs $PR_COMMAND"
    else
        has_tool sg_persist || has_tool mpathpersist ||
            problem "guard scsi-pr needs sg_persist (package sg3-utils) or mpathpersist (multipath-tools)"
    fi
    [ "$action" = check ] || return 0
    # Without its key there a path that comes back is not registered, and its writes fail.
    for disk in $(pr_disks); do
        case $(kind_of "$(number_of "$disk")") in mpath-*) ;; *) continue ;; esac
        grep -s -q '^[[:space:]]*reservation_key' /etc/multipath.conf /etc/multipath/conf.d/*.conf ||
            problem "$disk is on multipath: mpathpersist(8) wants a reservation_key in /etc/multipath.conf"
        break
    done
}

# The devices that are reserved; their names have no blanks.
pr_disks() { if [ -n "$PR_DEVICE" ]; then echo "$PR_DEVICE"; else all_bottoms; fi; }

pr_setup() {
    disks=$(pr_disks)
    [ -n "$disks" ] || fail "guard scsi-pr finds no device below $(names_of_devices): set PR_DEVICE"
    # "glha" and a checksum of the host name: the same after every start, and easy to recognise.
    [ -n "$PR_KEY" ] || PR_KEY=$(printf '0x676c6861%08x' "$(uname -n | cksum | cut -d ' ' -f 1)")
    pr_key=$(pr_plain "$PR_KEY")
}

pr_use() {                                      # DISK
    pr_disk=$1 pr_command=$PR_COMMAND
    [ -n "$pr_command" ] ||
        case $(kind_of "$(number_of "$1")") in
            mpath-*) pr_command=mpathpersist ;;
            *) pr_command=sg_persist ;;
        esac
    has_tool "$pr_command" ||
        fail "guard scsi-pr needs $pr_command (package sg3-utils or multipath-tools)"
}

# Keys are compared without 0x and leading zeros, as one may write them in either way.
pr_plain() { printf '%s\n' "$1" | tr 'A-F' 'a-f' | sed 's/^0x//; s/^0*\(.\)/\1/'; }

# After the other node changed the reservation, the first command gets a unit attention (6): one for
# every path. Bounded, because an array may never answer a preempt.
pr() {
    for _ in 1 2 3 4 5; do
        pr_output=$(bounded 10 "$pr_command" "$@" "$pr_disk" 2>&1)
        pr_status=$?
        [ "$pr_status" = 6 ] || break
    done
    return "$pr_status"
}
pr_failed() { fail "$pr_command $1 $pr_disk failed ($pr_status): $pr_output"; }

# Sets pr_keys, all registered keys with a blank on either side, pr_holder and pr_type.
pr_read() {
    pr --in --read-keys || return
    pr_keys=$(printf '%s\n' "$pr_output" | sed -n 's/^ *\(0x[0-9a-fA-F]*\).*/\1/p' |
        while read -r key; do pr_plain "$key"; done | sort -u | tr '\n' ' ')
    pr_keys=" $pr_keys"
    pr --in --read-reservation || return
    pr_holder=$(printf '%s\n' "$pr_output" | sed -n 's/^ *[Kk]ey *= *\(0x[0-9a-fA-F]*\).*/\1/p')
    pr_holder=$(pr_plain "$pr_holder")
    case $pr_output in *'Write Exclusive, registrants only'*) pr_type=5 ;; *) pr_type=other ;; esac
}

pr_are_ours() {
    pr_read || pr_failed "--in"
    [ "$pr_keys$pr_holder $pr_type" = " $pr_key $pr_key 5" ] && return
    say "$pr_disk: registered keys:$pr_keys, reservation: ${pr_holder:-none}, own key: $pr_key"
    return 1
}

pr_preempt() {
    say "$pr_disk: preempting key $1"
    pr --out "--$PR_PREEMPT" "--param-rk=$PR_KEY" "--param-sark=0x$1" --prout-type=5 ||
        pr --out --preempt "--param-rk=$PR_KEY" "--param-sark=0x$1" --prout-type=5 ||
        say "$pr_command --preempt: ($pr_status) $pr_output"    # judged by reading back
}
pr_register() {
    pr --out --register-ignore "--param-sark=$PR_KEY" || pr_failed --register-ignore
}
pr_unregister() { pr --out --register "--param-rk=$PR_KEY" --param-sark=0; }
pr_reserve() { pr --out --reserve "--param-rk=$PR_KEY" --prout-type=5; }

# A node that lost the storage would otherwise fence the one that has it now, and be fenced by it in
# turn, for as long as they cannot hear each other. A person may decide otherwise.
pr_spare() {
    [ "$GLHA_LOST" = 1 ] && [ "$GLHA_HOW" != person ] || return 0
    for key in $pr_keys; do
        [ "$key" = "$pr_key" ] ||
            fail "the storage was lost here, no master was heard since, and $pr_disk still has the" \
                "foreign key $key: not preempting it. If its node is surely down: glha released $name"
    done
}

scsi_pr_take() {
    pr_setup
    cold_check
    # All are asked before any is changed.
    for disk in $disks; do pr_use "$disk" && { pr_read || pr_failed --in; } && pr_spare; done
    for disk in $disks; do pr_use "$disk" && pr_take; done
    fences=yes
}

# Two nodes may do this in the same moment. Whose key was registered before ours is an old holder, and is
# preempted. Whose key appears while we take it is taking it too: the smaller key goes on, the other
# one withdraws. And who was preempted never registers again. So in every order exactly one is left:
# a preempt by one of the two removes the other atomically, and both never withdraw.
pr_take() {
    pr_read || pr_failed --in
    old_keys=$pr_keys
    pr_register
    pr_read || pr_failed --in
    pr_yield
    # The reservation may belong to a session of ours that ended with a crash: the array takes that
    # for another node, so it is preempted too.
    if [ -n "$pr_holder" ] && [ "$pr_holder" != "$pr_key" ]; then
        pr_preempt "$pr_holder"
    elif ! pr_reserve; then
        pr_read || pr_failed --in
        pr_yield
        if [ "$pr_holder" = "$pr_key" ]; then
            pr_preempt "$pr_key"
            pr_register
            pr_reserve
        elif [ -n "$pr_holder" ]; then
            pr_preempt "$pr_holder"
        fi
    fi
    for try in 1 2 3 4 5; do
        pr_read || pr_failed --in
        case $pr_keys in
            *" $pr_key "*) ;;
            *) pr_withdraw; later "$pr_disk was taken by another node in the same moment" ;;
        esac
        [ "$pr_keys$pr_holder $pr_type" != " $pr_key $pr_key 5" ] || return 0
        pr_yield
        for key in $pr_keys; do [ "$key" = "$pr_key" ] || pr_preempt "$key"; done
        [ "$pr_holder" = "$pr_key" ] || pr_reserve
    done
    fail "the reservation of $pr_disk could not be taken: not mounting"
}

pr_yield() {
    for key in $pr_keys; do
        case "$old_keys" in *" $key "*) continue ;; esac
        [ "$key" != "$pr_key" ] && pr_is_smaller "$key" "$pr_key" || continue
        pr_withdraw
        later "$pr_disk is being taken by the node with key $key in the same moment: it goes first"
    done
}
# From all of them: half of the devices are of use to nobody.
pr_withdraw() {
    yielded=$pr_disk
    for disk in $disks; do pr_use "$disk" && pr_unregister; done
    pr_disk=$yielded
}
pr_is_smaller() {
    [ "${#1}" -lt "${#2}" ] || {
        [ "${#1}" = "${#2}" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort | head -n 1)" = "$1" ]
    }
}

scsi_pr_proven() {
    pr_setup
    for disk in $disks; do
        pr_use "$disk"
        pr_are_ours || return 3
    done
}

# A registration that stays behind does no harm, the other node preempts it: so nothing fails here.
scsi_pr_give_up() {
    disks=$(pr_disks)
    [ -n "$disks" ] || return 0
    pr_setup
    for disk in $disks; do (pr_use "$disk" && pr_give_up_one); done
    return 0
}
pr_give_up_one() {
    pr_read || { say "$pr_disk: cannot read the keys ($pr_status), ours may stay behind"; return; }
    case $pr_keys in *" $pr_key "*) ;; *) return ;; esac
    [ "$pr_holder" != "$pr_key" ] || pr --out --release "--param-rk=$PR_KEY" --prout-type=5 ||
        say "$pr_disk: the reservation could not be given up ($pr_status): $pr_output"
    pr_unregister || say "$pr_disk: our key could not be removed ($pr_status): $pr_output"
}
