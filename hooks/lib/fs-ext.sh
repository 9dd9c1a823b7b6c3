# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# ext2, ext3, ext4: the superblock, e2fsck, and multi-mount protection (MMP), which is used whatever
# the guard is, where a file system has it.

MMP_CLEAN=0xff4d4d50             # sequence number of a cleanly unmounted file system
FSCK_END_SECONDS=5               # how long e2fsck may take to end itself

read_superblock() { superblock=$(dumpe2fs -h "$1" 2>/dev/null); }
has() { in_words "$1" "$(field "$superblock" 'Filesystem features')"; }

ext_needs() {                                   # DEVICE
    for tool in dumpe2fs e2mmpstatus e2fsck; do
        has_tool $tool || problem "$tool is missing: install the package e2fsprogs"
    done
    has_tool dumpe2fs || return 0
    [ "$GUARD" != drbd ] || return 0            # cannot be read before it is promoted
    [ -n "$is_recorded" ] || drop_cache "$1"
    read_superblock "$1"
    [ -n "$superblock" ] || { problem "dumpe2fs -h $1 finds no ext file system"; return; }
    has mmp || return 0
    interval=$(mmp_interval) mmp_check=$((interval * 2))
    needed=$(mmp_wait_seconds)
    shorter=''
    [ "$interval" -le 1 ] || shorter=", or unmount everywhere and tune2fs -E mmp_update_interval=1 $1"
    [ $((GLHA_TIMEOUT_MS / 1000)) -gt "$needed" ] ||
        problem "the timeout of \`mount\` is $((GLHA_TIMEOUT_MS / 1000)) s, but after a crash of the other node" \
            "mount waits up to $needed s, since $1 has an MMP interval of $interval s:" \
            "make it $((needed + 5)) s or more$shorter"
}

ext_take() {                                    # DEVICE
    [ "$type" = auto ] || in_words "$(blkid -p -o value -s TYPE "$1" 2>/dev/null)" 'ext2 ext3 ext4' ||
        give_back "dumpe2fs -h $1 finds no ext file system: try it by hand"
    read_superblock "$1"
    if [ "$GUARD" = mmp ]; then has mmp || give_back "$(no_mmp "$1")"; fi
    mmp_sequence=''
    if has mmp; then
        # Behind a fence the mark of the dead node means nothing, and to wait for it is lost time.
        if [ "$fences" = yes ]; then mmp_clear "$1"; fi
        mmp_plan "$1"
    fi
    repair "$1"
    if has mmp && ! mmp_clean; then watches=yes; fi
    # An error must not be written over and over, and must be seen by the probe.
    case ,$options, in *,errors=*) ;; *) more_options=,errors=remount-ro ;; esac
}

ext_has_turned_clean() {
    was=$mmp_sequence
    mmp_try "$1" && mmp_clean && return
    mmp_sequence=$was
    return 1
}

ext_refused() { has mmp || return 1; mmp_verdict "$1"; }

# Two nodes that mount a file system marked clean in the same instant may both succeed; within one
# second the later one's name stands in the MMP block. Otherwise the mount has waited and looked.
ext_mounted() {
    has mmp && [ "$GLHA_RELEASED" != 1 ] && [ "$fences" = no ] && mmp_clean || return 0
    mmp_ours_for "$1" 4 && return
    umount -- "$point"
    give_back_later "another node mounted $1 at the same time: unmounted it again"
}

ext_proven() {                                  # DEVICE LOOKS
    read_superblock "$1"
    has mmp || return 2
    looks=$2
    [ "$looks" -gt 0 ] || looks=$((($(mmp_interval) + 1) * 5))
    mmp_ours_for "$1" "$looks" || return 3
}

no_mmp() {
    echo "$1 has no multi-mount protection. With it unmounted on every node:" \
        "tune2fs -O mmp -E mmp_update_interval=1 $1"
}

# --- multi-mount protection ----------------------------------------------------------------------------

# Sets mmp_sequence, mmp_check (seconds), mmp_name and mmp_device, of the host that wrote last.
mmp_try() {
    for _ in 1 2 3; do           # a block caught half-written has a wrong checksum
        mmp=$(e2mmpstatus -i "$1" 2>/dev/null)
        mmp_sequence=$(field "$mmp" mmp_sequence)
        mmp_check=$(field "$mmp" mmp_check_interval)
        mmp_name=$(field "$mmp" mmp_node_name)
        mmp_device=$(field "$mmp" mmp_device_name)
        mmp_holder="host $mmp_name, device $mmp_device"
        [ -n "$mmp_sequence" ] && [ -n "$mmp_check" ] && return
        sleep "$WATCH_SECONDS"
    done
    return 1
}
mmp_read() { mmp_try "$1" || fail "cannot read the MMP block of $1: try e2mmpstatus -i $1 by hand"; }
mmp_interval() {
    interval=$(field "$superblock" 'MMP update interval')
    [ "${interval:-0}" -gt 0 ] || interval=5
    echo "$interval"
}
mmp_clean() { [ "$mmp_sequence" = $MMP_CLEAN ]; }
holder_of() { mmp_try "$1"; echo "$mmp_holder"; }

# The kernel writes the name that its host had when it was mounted: not that of a container, and not a
# later one. So the name is learned from the block once the mount is proven, and written down.
INITIAL_UTS='uts:[4026531838]'
mmp_own_name() {
    if [ -n "$held_node" ]; then
        echo "$held_node"
    elif [ "$(readlink /proc/self/ns/uts)" = "$INITIAL_UTS" ]; then
        uname -n
    fi
}
node_of_mmp() {
    mmp_own=$(mmp_own_name)
    [ -n "$mmp_own" ] || mmp_own=$(printf '%s\n' "$held_devices" | while read -r _ path; do
        read_superblock "$path"
        if has mmp && mmp_try "$path" && ! mmp_clean; then echo "$mmp_name"; break; fi
    done)
    echo "$mmp_own"
}

# Watches the MMP block: must carry our name in every one of LOOKS looks. Where the kernel's name for
# this host is not known, no other one may appear for longer than an interval.
mmp_ours_for() {                                # DEVICE LOOKS
    looks=$2
    own=$(mmp_own_name)
    # The kernel cuts the device's name, and knows it without the folder.
    own_device=$(basename "$(readlink -f "/sys/dev/block/$(number_of "$1")")")
    [ -n "$own" ] || looks=$((($(mmp_interval) + 1) * 10))
    while :; do
        mmp_read "$1"
        if mmp_clean; then
            say "the MMP block of $1 is marked clean: the kernel does not guard the mount"
            return 1
        fi
        [ -n "$own" ] || own=$mmp_name
        if [ "$mmp_holder" != "host $own, device $own_device" ]; then
            say "the MMP block of $1 was written by $mmp_holder, not by host $own, device $own_device"
            return 1
        fi
        looks=$((looks - 1))
        [ "$looks" -gt 0 ] || return 0
        sleep "$WATCH_SECONDS"
    done
}

# How long mount(8) waits, twice, before it believes that a file system is not in use, with a tenth
# to spare. The rule is the kernel's (ext4_multi_mount_protect).
mmp_wait_seconds() {
    wait_check=$(mmp_interval)
    [ "$wait_check" -gt 5 ] || wait_check=5
    [ "$mmp_check" -le "$wait_check" ] || wait_check=$mmp_check
    wait_once=$((2 * wait_check + 1))
    [ "$wait_once" -le $((wait_check + 60)) ] || wait_once=$((wait_check + 60))
    echo $((wait_once * 22 / 10 + 1))
}

# Sets mount_seconds, the bound for mount(8), by what the MMP block says.
mmp_plan() {
    mmp_read "$1"
    mmp_clean && return
    needed=$(mmp_wait_seconds)
    # The old master is alive and about to unmount: watch for the clean mark while there is time.
    case $GLHA_HOW in
        preempting | released | person) mmp_await "$1" $((needed + 1)) && return ;;
    esac
    mount_seconds=$(($(left) - 1))
    if [ "$mount_seconds" -lt "$needed" ]; then
        # No time for the wait. Who writes there is alive, and that is no failure.
        ! mmp_is_alive "$1" || give_back_later "$1 is in use by $mmp_holder"
        mmp_clean && mount_seconds=$MOUNT_CLEAN_SECONDS && return
        give_back "$1 is marked as in use by $mmp_holder." \
            "To make sure takes up to $needed s, but only $mount_seconds s are left: raise the timeout of" \
            "'mount' in the hooks block, or unmount everywhere and tune2fs -E mmp_update_interval=1"
    fi
    say "$1 is marked as in use by $mmp_holder: mount watches it for up to $needed s"
}

# Waits for the clean mark until so many seconds are left, or its writer is dead.
mmp_await() {                                   # DEVICE SECONDS
    seen=$mmp_sequence same=0
    looks=$((($(mmp_interval) * 2 + 1) * 5))
    while [ "$(left)" -gt "$2" ] && [ "$same" -lt "$looks" ]; do
        sleep "$WATCH_SECONDS"
        mmp_read "$1"
        mmp_clean && return
        same=$((same + 1))
        [ "$mmp_sequence" = "$seen" ] || same=0
        seen=$mmp_sequence
    done
    return 1
}

# Does somebody write the block, within two intervals and a second?
mmp_is_alive() {
    seen=$mmp_sequence
    looks=$((($(mmp_interval) * 2 + 1) * 5))
    while [ "$looks" -gt 0 ] && [ "$(left)" -gt 1 ]; do
        sleep "$WATCH_SECONDS"
        mmp_read "$1"
        mmp_clean && return 1
        [ "$mmp_sequence" = "$seen" ] || return 0
        looks=$((looks - 1))
    done
    return 1
}

# A mount or e2fsck has failed. Did the MMP block change under us? Then somebody is writing there, or
# was, and has unmounted since.
mmp_verdict() {                                 # DEVICE
    before=$mmp_sequence
    mmp_read "$1"
    [ "$mmp_sequence" != "$before" ] || return 1
    ! mmp_clean || return 0
    return 75
}

mmp_clear() {
    mmp_read "$1"
    mmp_clean && return
    say "clearing the MMP mark of the fenced $mmp_holder"
    tune2fs -f -E clear_mmp "$1" >/dev/null || give_back "tune2fs could not clear it"
}

# A node that heard nobody since its start may be the one that is cut off: before it fences, let MMP
# tell whether the other one is at work.
cold_check() {
    [ "$GLHA_HOW" = cold ] || return 0
    each_line cold_check_line
}
cold_check_line() {
    has_device || return 0
    path=$(device_path "$device")
    [ -b "$path" ] || return 0
    drop_cache "$path"
    read_superblock "$path"
    has mmp || return 0
    mmp_read "$path"
    mmp_clean && return
    say "nobody was heard since the start: looking whether $mmp_holder is at work"
    bounded "$(left)" e2mmpstatus "$path" >/dev/null 2>&1
    case $? in
        0) ;;
        1) later "$path is in use by $mmp_holder, which is alive: not fencing it" ;;
        *) fail "e2mmpstatus $path failed: not fencing" ;;
    esac
}

# --- repair ------------------------------------------------------------------------------------------------

# The journal is replayed by the mount; a check is due only where that is not enough. Recorded errors
# are no reason to stay away when there is no time for it: the mount would have allowed them too.
repair() {
    case $(field "$superblock" 'Filesystem state') in
        '') return ;;                           # not an ext file system
        *errors*) why='the superblock records errors' may_skip=yes ;;
        *)
            { has has_journal || [ "$GLHA_RELEASED" = 1 ]; } && return
            why='no journal' may_skip=no ;;
    esac
    limit=$(($(left) - MOUNT_CLEAN_SECONDS - FSCK_END_SECONDS - 2))
    needed=$(fsck_wait_seconds)
    if [ "$limit" -lt "$needed" ]; then
        unchecked "$1" "e2fsck and its wait for MMP take more than $needed s, and only $limit s are left"
        return
    fi
    say "$1: $why, running e2fsck -p"
    drop_cache "$1"
    timeout --foreground -k "$FSCK_END_SECONDS" "$limit" e2fsck -p "$1"
    status=$?
    if [ "$status" -lt 4 ]; then
        if has mmp; then mmp_read "$1"; fi      # marked clean by now
        return
    fi
    if has mmp; then
        mmp_verdict "$1"
        [ $? != 75 ] || give_back_later "$1 is in use by $mmp_holder"
    fi
    # 32: ended by the TERM of timeout(1), which says 124. Nobody can mount what a killed e2fsck leaves.
    [ "$status" = 124 ] || [ "$status" = 32 ] ||
        give_back "e2fsck -p ended with status $status: run e2fsck $1 by hand"
    unchecked "$1" "e2fsck did not end within $limit s"
}

unchecked() {                                   # DEVICE WHY
    [ "$may_skip" = yes ] || give_back "$1: $why, but $2: raise the timeout of 'mount'"
    say "$1: $why, but $2: mounting it UNCHECKED. Run e2fsck when it can be spared"
}

# e2fsck waits for MMP whenever it opens the device, even if that is marked clean: twice more when it
# replays the journal.
fsck_wait_seconds() {
    times=1
    has mmp || times=0
    has mmp && has needs_recovery && times=3
    has mmp && ! mmp_clean && times=$((times + 1))
    check=$(mmp_interval)
    [ "$check" -gt 5 ] || check=5
    echo $((times * (2 * check + 1) + 2))
}
