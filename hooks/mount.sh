#!/bin/sh
# mount.sh: takes the shared storage for this node, and gives it back.
#
#   mount.sh acquire NAME   prove that no other node uses it, mount it, start the services
#   mount.sh release NAME   stop the services, unmount it, prove that it is free
#   mount.sh probe NAME     is it mounted here, and healthy?
#
# acquire, release: exit 0 done, 75 please try again, else failed: nothing is taken for granted.
# probe: exit 0 held and healthy, 1 not held, else held. After an absence (reason resume or lapse)
#        0 also says proven to be ours alone, 2 that this guard cannot prove it. 3 is unhealthy, or
#        not ours any more.
# Every line printed goes to the daemon's log. See glha-hooks(7).

# --- settings; an `env` line of the hooks block wins over a value given here ---------------------

: "${MOUNT_DEVICE:=}"            # the shared block device: /dev/mapper/mpath0-part1
: "${MOUNT_POINT:=}"             # where it belongs (no blanks in either path)
: "${MOUNT_TYPE:=ext4}"
: "${MOUNT_OPTIONS:=defaults}"
: "${MOUNT_OWNER:=}"             # of the mounted root directory: git:git; empty leaves it alone
: "${MOUNT_MODE:=}"              # of the mounted root directory: 755; empty leaves it alone
: "${SERVICES:=}"                # what uses the storage, in the order of starting
: "${GUARD:=mmp}"                # what proves that the other node is off it: scsi-pr mmp fence none
: "${FENCE_COMMAND:=}"           # guard fence: exit 0 means that the other node is surely off
: "${FENCE_WHEN:=always}"        # guard fence: `unproven` spares a node that has proven its release
: "${ACCEPT_RISK:=no}"           # guard none: `yes` mounts even without a proven release
: "${PR_KEY:=}"                  # guard scsi-pr: this node's key; empty makes one of the host name
: "${PR_DEVICE:=}"               # guard scsi-pr: the whole device; empty finds it
: "${PR_COMMAND:=}"              # guard scsi-pr: sg_persist or mpathpersist; empty decides
: "${PR_PREEMPT:=preempt-abort}" # guard scsi-pr: or preempt, for an array that knows only that

# --- what the daemon says ------------------------------------------------------------------------

action=$1
name=$2
: "${GLHA_RELEASED:=0}"          # 1: the other node has proven that it let go
: "${GLHA_HOW:=}"                # released preempting silent cold person
: "${GLHA_LOST:=0}"              # 1: the storage was lost here, and no master was heard since
: "${GLHA_REASON:=}"
: "${GLHA_PHASE:=}"
: "${GLHA_TIMEOUT_MS:=60000}"

export LC_ALL=C                  # messages of other programs are compared below
exec </dev/null                  # the event is not read here, and nobody else shall read it
trap : PIPE                      # what is begun is brought to its end, even if nobody listens any more

MMP_CLEAN=0xff4d4d50             # sequence number of a cleanly unmounted file system
DEVICE_SECONDS=5                 # how long acquire waits for the device to appear
FSCK_END_SECONDS=5               # how long e2fsck may take to end itself
MOUNT_CLEAN_SECONDS=15           # a mount that has nothing to wait for
PROOF_SECONDS=5                  # how long release waits for the device to become free
WATCH_SECONDS=0.2                # between two looks

say() { echo "$*" || :; }
fail() { say "$@"; exit "$failed"; }
later() { say "$@"; exit 75; }
failed=1

# Seconds since boot: a clock that nobody sets.
seconds() { read -r up _ </proc/uptime; echo "${up%%.*}"; }
started=$(seconds)
left() { echo $((GLHA_TIMEOUT_MS / 1000 - ($(seconds) - started))); }

# --foreground keeps the command in our process group: the daemon must be able to end it with us.
bounded() {
    limit=$1
    shift
    [ "$limit" -ge 1 ] || limit=1               # 0 would be no limit at all
    timeout --foreground -k 2 "$limit" "$@"
}

# --- what is mounted -----------------------------------------------------------------------------

# Sets `mm`, the device's major:minor (empty if there is no such device), and `on_mm`, `on_source`,
# `on_options` of what lies on top of the mount point (empty: nothing).
look() {
    mm=$(mountpoint -x "$MOUNT_DEVICE" 2>/dev/null)
    on_mm='' on_source='' on_options=''
    while read -r _ _ dev _ point options rest; do
        [ "$point" = "$MOUNT_POINT" ] || continue
        rest=${rest#*- }                        # TYPE SOURCE SUPER_OPTIONS
        rest=${rest#* }
        on_mm=$dev on_source=${rest%% *} on_options=$options,${rest##* }
    done <<END
$(cat /proc/self/mountinfo)
END
    # A device that vanished under its mount has no node any more, but is still held.
    [ -z "$mm" ] && [ "$on_source" = "$MOUNT_DEVICE" ] && mm=$on_mm
}

# Where the device is mounted in this mount namespace, and what is mounted below: last one first.
mount_points() {
    ours='' all=''
    while read -r _ _ dev _ point _; do
        if [ "$dev" = "$mm" ]; then
            ours="$ours $point" all="$point $all"
        else
            for above in $ours; do
                case $point in "$above" | "$above"/*) all="$point $all" && break ;; esac
            done
        fi
    done <<END
$(cat /proc/self/mountinfo)
END
    echo "$all"
}

# The mountinfo files of all processes, in every mount namespace, that know the device.
mounted_anywhere() { [ -n "$mm" ] && grep -s -l "^[0-9]* [0-9]* $mm " /proc/[0-9]*/mountinfo; }

# Opens the device with O_EXCL and writes nothing: busy as long as any mount on this host is alive,
# whichever namespace it hides in (umount alone proves nothing, dd cannot open so).
exclusive() { busy=$(wipefs --no-act --all --types ext4 "$MOUNT_DEVICE" 2>&1 >/dev/null); }

# Who still holds the device: by mount namespace, and by open files even after a lazy unmount.
name_holders() {
    here=$(readlink /proc/self/ns/mnt)
    for file in $(mounted_anywhere); do
        pid=${file#/proc/} pid=${pid%/mountinfo}
        space=$(readlink "/proc/$pid/ns/mnt")
        [ "$space" = "$here" ] ||
            say "$MOUNT_DEVICE is mounted in mount namespace $space: pid $pid ($(comm_of "$pid"))"
    done | head -n 20
    points=$(mount_points)
    [ -n "$points" ] && say "$MOUNT_DEVICE is still mounted here: $points"
    # The kernel's device number as stat(1) prints it.
    number=$(((${mm#*:} & 255) | (${mm%:*} << 8) | ((${mm#*:} & ~255) << 12)))
    printf '%s\n' /proc/[0-9]*/cwd /proc/[0-9]*/root /proc/[0-9]*/exe /proc/[0-9]*/fd/* |
        bounded 5 xargs stat -L -c '%d %n' 2>/dev/null |
        while read -r on file; do
            user=${file#/proc/} user=${user%%/*}
            [ "$on" = "$number" ] &&
                say "in use by pid $user ($(comm_of "$user")) in $(readlink "/proc/$user/ns/mnt")"
        done | sort -u | head -n 20
}
comm_of() { cat "/proc/$1/comm" 2>/dev/null || echo gone; }

# --- health --------------------------------------------------------------------------------------

# Read-write, and a block that is synced comes back from the disk. Without the sync a disk that no
# longer takes our writes (a fence, dead paths) looks healthy; a read without O_DIRECT asks only the
# page cache.
healthy() {
    look
    case ,$on_options, in
        *,ro,* | *,emergency_ro,* | *,shutdown,*)
            say "$MOUNT_POINT is mounted, but not for writing ($on_options)"
            return 1 ;;
    esac
    file=$MOUNT_POINT/.glha-probe
    word="glha $(uname -n) $$ $(date +%s)"
    if ! error=$(echo "$word" | dd "of=$file" bs=4096 conv=sync,notrunc,fsync 2>&1); then
        say "$MOUNT_POINT does not take a write: ${error%%[0-9]*+*}"
        return 1
    fi
    back=$(dd "if=$file" bs=4096 count=1 iflag=direct 2>/dev/null | tr -d '\000')
    [ "$back" = "$word" ] && return
    say "$MOUNT_POINT does not give back what was written to $file"
    return 1
}

# Is the storage ours alone? Asked after the daemon was away or asleep, when the answer may have
# changed. Fencing and `none` prove nothing afterwards, unless MMP is there as well. Returns 2 if
# nothing can prove it, 3 if it is not so.
proven() {
    read_superblock
    if [ "$GUARD" = scsi-pr ]; then
        pr_setup
        pr_ours || return 3
    elif has mmp; then
        mmp_ours_for "$1" || return 3
    else
        say "guard $GUARD cannot prove that $MOUNT_DEVICE is used by this node alone"
        return 2
    fi
}

# --- ext4: superblock and multi-mount protection -------------------------------------------------

read_superblock() { superblock=$(dumpe2fs -h "$MOUNT_DEVICE" 2>/dev/null); }
field() { printf '%s\n' "$1" | sed -n "s/^ *$2: *//p"; }
has() { case " $(field "$superblock" 'Filesystem features') " in *" $1 "*) ;; *) return 1 ;; esac; }

# Sets mmp_sequence, mmp_check (seconds) and mmp_holder, the host and device that wrote last.
mmp_read() {
    for _ in 1 2 3; do           # a block caught half-written has a wrong checksum
        mmp=$(e2mmpstatus -i "$MOUNT_DEVICE" 2>/dev/null)
        mmp_sequence=$(field "$mmp" mmp_sequence)
        mmp_check=$(field "$mmp" mmp_check_interval)
        mmp_holder="host $(field "$mmp" mmp_node_name), device $(field "$mmp" mmp_device_name)"
        [ -n "$mmp_sequence" ] && [ -n "$mmp_check" ] && return
        sleep "$WATCH_SECONDS"
    done
    fail "cannot read the MMP block of $MOUNT_DEVICE: try e2mmpstatus -i $MOUNT_DEVICE by hand"
}
mmp_interval() {
    interval=$(field "$superblock" 'MMP update interval')
    echo "${interval:-5}"
}
mmp_clean() { [ "$mmp_sequence" = $MMP_CLEAN ]; }
mmp_me() { echo "host $(uname -n), device $(basename "$(readlink -f "/sys/dev/block/$mm")")"; }

# Watches the MMP block: must carry our name in every one of $1 looks.
mmp_ours_for() {
    looks=$1
    while :; do
        mmp_read
        if mmp_clean; then
            say "the MMP block of $MOUNT_DEVICE is marked clean: the kernel does not guard the mount"
            return 1
        fi
        if [ "$mmp_holder" != "$(mmp_me)" ]; then
            say "the MMP block of $MOUNT_DEVICE was written by $mmp_holder, not by $(mmp_me)"
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
    check=$(mmp_interval)
    [ "$check" -gt 5 ] || check=5
    [ "$mmp_check" -gt "$check" ] && check=$mmp_check
    wait=$((2 * check + 1))
    [ "$wait" -gt $((check + 60)) ] && wait=$((check + 60))
    echo $((wait * 22 / 10 + 1))
}

# Sets mount_seconds, the bound for mount(8), by what the MMP block says.
mmp_plan() {
    mmp_read
    mmp_clean && return
    needed=$(mmp_wait_seconds)
    # The old master is alive and about to unmount: mount(8) would wait its whole time and then refuse,
    # because the block has changed. So watch for the clean mark while there is time for both.
    case $GLHA_HOW in
        preempting | released | person)
            seen=$mmp_sequence same=0
            patience=$((($(mmp_interval) * 2 + 1) * 5))     # looks; after that its writer is dead
            while [ "$(left)" -gt $((needed + 1)) ] && [ $same -lt $patience ]; do
                sleep "$WATCH_SECONDS"
                mmp_read
                mmp_clean && return
                same=$((same + 1))
                [ "$mmp_sequence" = "$seen" ] || same=0
                seen=$mmp_sequence
            done ;;
    esac
    mount_seconds=$(($(left) - 1))
    [ "$mount_seconds" -ge "$needed" ] || fail "$MOUNT_DEVICE is marked as in use by $mmp_holder." \
        "To make sure takes up to $needed s, but only $mount_seconds s are left: raise the timeout of" \
        "'mount' in the hooks block, or unmount everywhere and tune2fs -E mmp_update_interval=1"
    say "$MOUNT_DEVICE is marked as in use by $mmp_holder: mount watches it for up to $needed s"
}

# Behind a fence the mark of the dead node means nothing, and waiting for it is lost time.
mmp_clear() {
    has mmp || return 0
    mmp_read
    mmp_clean && return
    say "clearing the MMP mark of the fenced $mmp_holder"
    tune2fs -f -E clear_mmp "$MOUNT_DEVICE" >/dev/null || fail "tune2fs could not clear it"
}

# A node that heard nobody since its start may be the one that is cut off: before it fences, let MMP
# tell whether the other one is at work.
cold_check() {
    [ "$GLHA_HOW" = cold ] && has mmp || return 0
    mmp_read
    mmp_clean && return
    say "nobody was heard since the start: looking whether $mmp_holder is at work"
    bounded "$(left)" e2mmpstatus "$MOUNT_DEVICE" >/dev/null 2>&1
    case $? in
        0) ;;
        1) later "$MOUNT_DEVICE is in use by $mmp_holder, which is alive: not fencing it" ;;
        *) fail "e2mmpstatus $MOUNT_DEVICE failed: not fencing" ;;
    esac
}

# --- SCSI-3 persistent reservations: write exclusive, registrants only ---------------------------

pr_setup() {
    uuid=$(cat "/sys/dev/block/$mm/dm/uuid" 2>/dev/null)
    if [ -z "$PR_DEVICE" ]; then
        PR_DEVICE=$MOUNT_DEVICE
        case $uuid in part*)     # a partition on multipath: reservations belong to the whole device
            for below in "/sys/dev/block/$mm"/slaves/*; do
                PR_DEVICE=/dev/mapper/$(cat "$below/dm/name") uuid=$(cat "$below/dm/uuid")
            done ;;
        esac
    fi
    [ -n "$PR_COMMAND" ] ||
        case $uuid in mpath-*) PR_COMMAND=mpathpersist ;; *) PR_COMMAND=sg_persist ;; esac
    command -v "$PR_COMMAND" >/dev/null || fail "guard scsi-pr needs $PR_COMMAND (package sg3-utils" \
        "or multipath-tools)"
    # "glha" and a checksum of the host name: the same after every start, and easy to recognise.
    [ -n "$PR_KEY" ] || PR_KEY=$(printf '0x676c6861%08x' "$(uname -n | cksum | cut -d ' ' -f 1)")
    pr_key=$(pr_plain "$PR_KEY")
}

# Keys are compared without 0x and leading zeros, as one may write them in either way.
pr_plain() { printf '%s\n' "$1" | tr 'A-F' 'a-f' | sed 's/^0x//; s/^0*\(.\)/\1/'; }

# After the other node changed the reservation, the first command gets a unit attention (6): one for
# every path. Bounded, because an array may never answer a preempt.
pr() {
    for _ in 1 2 3 4 5; do
        pr_output=$(bounded 10 "$PR_COMMAND" "$@" "$PR_DEVICE" 2>&1)
        pr_status=$?
        [ "$pr_status" = 6 ] || break
    done
    return "$pr_status"
}
pr_failed() { fail "$PR_COMMAND $1 $PR_DEVICE failed ($pr_status): $pr_output"; }

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

pr_ours() {
    pr_read || pr_failed "--in"
    [ "$pr_keys$pr_holder $pr_type" = " $pr_key $pr_key 5" ] && return
    say "$PR_DEVICE: registered keys:$pr_keys, reservation: ${pr_holder:-none}, own key: $pr_key"
    return 1
}

pr_preempt() {
    say "$PR_DEVICE: preempting key $1"
    pr --out "--$PR_PREEMPT" "--param-rk=$PR_KEY" "--param-sark=0x$1" --prout-type=5 ||
        pr --out --preempt "--param-rk=$PR_KEY" "--param-sark=0x$1" --prout-type=5 ||
        say "$PR_COMMAND --preempt: ($pr_status) $pr_output"    # judged by reading back
}

pr_register() {
    pr --out --register-ignore "--param-sark=$PR_KEY" || pr_failed --register-ignore
}

# A node that lost the storage would otherwise fence the one that has it now, and be fenced by it in
# turn, for as long as they cannot hear each other. A person may decide otherwise.
pr_spare() {
    [ "$GLHA_LOST" = 1 ] && [ "$GLHA_HOW" != person ] || return 0
    for key in $pr_keys; do
        [ "$key" = "$pr_key" ] ||
            fail "the storage was lost here, no master was heard since, and $PR_DEVICE still has the" \
                "foreign key $key: not preempting it. If its node is surely down: glha released $name"
    done
}

pr_take() {
    pr_read || pr_failed --in
    pr_spare
    pr_register
    # The reservation may belong to a session of ours that ended with a crash: the array takes that
    # for another node, so it is preempted too.
    if [ -n "$pr_holder" ] && [ "$pr_holder" != "$pr_key" ]; then
        pr_preempt "$pr_holder"
    elif ! pr --out --reserve "--param-rk=$PR_KEY" --prout-type=5; then
        pr_preempt "$pr_key"
        pr_register
        pr --out --reserve "--param-rk=$PR_KEY" --prout-type=5
    fi
    for key in $pr_keys; do
        [ "$key" = "$pr_key" ] || [ "$key" = "$pr_holder" ] || pr_preempt "$key"
    done
    pr_ours || fail "the reservation of $PR_DEVICE could not be taken: not mounting"
}

# A registration that stays behind does no harm, the other node preempts it: so nothing fails here.
pr_give_up() {
    pr_setup
    pr_read || { say "$PR_DEVICE: cannot read the keys ($pr_status), ours may stay behind"; return; }
    case $pr_keys in *" $pr_key "*) ;; *) return ;; esac
    [ "$pr_holder" != "$pr_key" ] || pr --out --release "--param-rk=$PR_KEY" --prout-type=5 ||
        say "$PR_DEVICE: the reservation could not be given up ($pr_status): $pr_output"
    pr --out --register "--param-rk=$PR_KEY" --param-sark=0 ||
        say "$PR_DEVICE: our key could not be removed ($pr_status): $pr_output"
}

# --- guards: each one proves that no other node uses the device, or does not return --------------

guard_mmp() {
    has mmp || fail "$MOUNT_DEVICE has no multi-mount protection. With it unmounted on every node:" \
        "tune2fs -O mmp -E mmp_update_interval=1 $MOUNT_DEVICE"
}

guard_fence() {
    [ "$FENCE_WHEN" = unproven ] && [ "$GLHA_RELEASED" = 1 ] && return
    [ -n "$FENCE_COMMAND" ] || fail "GUARD is fence, but FENCE_COMMAND is empty"
    cold_check
    say "fencing the other node: $FENCE_COMMAND"
    bounded "$(left)" sh -c "$FENCE_COMMAND" ||
        fail "the fence command did not confirm (status $?) that the other node is off: not mounting"
    mmp_clear
}

guard_scsi_pr() {
    pr_setup
    cold_check
    pr_take
    mmp_clear
}

guard_none() {
    [ "$GLHA_RELEASED" = 1 ] && return
    if [ "$ACCEPT_RISK" = yes ]; then
        say "no proof that $MOUNT_DEVICE is free; ACCEPT_RISK says go on"
        return
    fi
    fail "no proof that the other node has let go of $MOUNT_DEVICE, and GUARD is none: not mounting." \
        "Make sure by hand that it is mounted nowhere else, then say so: glha released $name"
}

# --- acquire -------------------------------------------------------------------------------------

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
        unchecked "e2fsck and its wait for MMP take more than $needed s, and only $limit s are left"
        return
    fi
    say "$MOUNT_DEVICE: $why, running e2fsck -p"
    before=$mmp_sequence
    timeout --foreground -k "$FSCK_END_SECONDS" "$limit" e2fsck -p "$MOUNT_DEVICE"
    status=$?
    if [ "$status" -lt 4 ]; then
        if has mmp; then mmp_read; fi           # marked clean by now
        return
    fi
    refused
    # 32: ended by the TERM of timeout(1), which says 124. Nobody can mount what a killed e2fsck leaves.
    [ "$status" = 124 ] || [ "$status" = 32 ] ||
        fail "e2fsck -p ended with status $status: run e2fsck $MOUNT_DEVICE by hand"
    unchecked "e2fsck did not end within $limit s"
}

unchecked() {
    [ "$may_skip" = yes ] || fail "$MOUNT_DEVICE: $why, but $1: raise the timeout of 'mount'"
    say "$MOUNT_DEVICE: $why, but $1: mounting it UNCHECKED. Run e2fsck when it can be spared"
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

# Did the MMP block change under us? Then somebody is writing there.
refused() {
    has mmp || return 0
    mmp_read
    mmp_clean || [ "$mmp_sequence" = "$before" ] || later "$MOUNT_DEVICE is in use by $mmp_holder"
}

mount_device() {
    before=$mmp_sequence
    # The kernel takes a cached MMP block for the one on the disk, and a device's cache outlives its
    # last mount while anybody keeps the device open: an old "clean" would mount it a second time.
    blockdev --flushbufs "$MOUNT_DEVICE" || fail "cannot drop the page cache of $MOUNT_DEVICE"
    bounded "$mount_seconds" mount -t "$MOUNT_TYPE" -o "$MOUNT_OPTIONS" "$MOUNT_DEVICE" "$MOUNT_POINT"
    status=$?
    [ "$status" = 0 ] && return
    refused
    [ "$status" = 124 ] && fail "mount did not end within $mount_seconds s"
    fail "mount ended with status $status: see the kernel log (dmesg)"
}

# Two nodes that mount a file system marked clean in the same instant may both succeed; within one
# second the later one's name stands in the MMP block. Otherwise the mount has waited and looked.
verify_mount() {
    look
    [ "$on_mm" = "$mm" ] || fail "$MOUNT_POINT carries ${on_source:-nothing} instead of $MOUNT_DEVICE"
    if [ "$GLHA_RELEASED" != 1 ] && has mmp && mmp_clean && ! mmp_ours_for 4; then
        umount "$MOUNT_POINT"
        later "another node mounted $MOUNT_DEVICE at the same time: unmounted it again"
    fi
}

# Paths that come back take a moment. Longer than that the other node shall have its turn.
await_device() {
    patience=$(($(left) - DEVICE_SECONDS))
    [ "$patience" -ge 1 ] || patience=1
    until [ -b "$MOUNT_DEVICE" ]; do
        [ "$(left)" -gt "$patience" ] || fail "$MOUNT_DEVICE is not there: look at multipath -ll"
        sleep "$WATCH_SECONDS"
    done
}

acquire() {
    [ -d "$MOUNT_POINT" ] || fail "$MOUNT_POINT is missing: install -d -m 0 $MOUNT_POINT"
    await_device
    look
    mount_seconds=$MOUNT_CLEAN_SECONDS
    read_superblock
    case $MOUNT_TYPE,$superblock in
        ext?,) fail "dumpe2fs -h $MOUNT_DEVICE finds no ext file system: try it by hand" ;;
    esac
    case $on_mm in
        "$mm")
            say "$MOUNT_DEVICE is already mounted on $MOUNT_POINT"
            healthy || exit 1
            case $GUARD in
                scsi-pr) pr_setup && pr_take ;;
                mmp) proven 4 || exit 1 ;;
            esac ;;
        '')
            case $GUARD in
                mmp | fence | none) "guard_$GUARD" ;;
                scsi-pr) guard_scsi_pr ;;
                *) fail "GUARD $GUARD is unknown: use scsi-pr, mmp, fence or none" ;;
            esac
            # Whatever the guard, a mark that it left in place must be waited for.
            if has mmp; then mmp_plan; fi
            repair
            mount_device
            verify_mount
            healthy || exit 1 ;;
        *) fail "$MOUNT_POINT carries $on_source instead of $MOUNT_DEVICE: unmount that first" ;;
    esac
    [ -z "$MOUNT_OWNER" ] || chown "$MOUNT_OWNER" "$MOUNT_POINT" || exit 1
    [ -z "$MOUNT_MODE" ] || chmod "$MOUNT_MODE" "$MOUNT_POINT" || exit 1
    for service in $SERVICES; do
        service_do "$(left)" start "$service" || fail "$service could not be started"
    done
    say "$MOUNT_DEVICE is mounted on $MOUNT_POINT (guard $GUARD)"
}

# --- release -------------------------------------------------------------------------------------

release() {
    for service in $SERVICES; do last_first="$service $last_first"; done
    # Units are stopped, not processes killed: systemd would start those again.
    for service in $last_first; do
        service_do $(($(left) / 2)) stop "$service" || say "$service could not be stopped (status $?)"
    done
    look
    if [ -z "$mm" ]; then
        surely_gone
        return
    fi
    unmount_all
    if [ -b "$MOUNT_DEVICE" ]; then prove_free; else surely_gone; fi
    [ "$GUARD" != scsi-pr ] || pr_give_up
    say "$MOUNT_DEVICE is free"
}

# First plainly; then whoever holds it gets TERM for half of the time, KILL for the rest. Never lazily:
# that hides a mount which goes on writing. Never by force: that loses data.
unmount_all() {
    half=$(($(left) / 2))
    told=''
    while :; do
        points=$(mount_points)
        for point in $points; do error=$(umount "$point" 2>&1); done
        [ -n "$(mount_points)" ] || return
        if [ "$(left)" -le 2 ]; then
            name_holders
            fail "$MOUNT_DEVICE could not be unmounted: $error"
        fi
        signal=KILL
        [ "$(left)" -gt "$half" ] && signal=TERM
        for point in $points; do end_users "$signal" "$point"; done
        sleep 0.5
    done
}

# -M: only if the path is a mount point. Without it fuser would take the file system that the bare
# folder lies on, the root file system, and end everything.
end_users() {
    command -v fuser >/dev/null || { say "fuser (package psmisc) is missing"; return; }
    pids=$(bounded 5 fuser -M -m "$2" 2>/dev/null)
    for pid in $pids; do
        case $told in *" $1:$pid "*) continue ;; esac
        told="$told $1:$pid "
        say "sending $1 to pid $pid ($(comm_of "$pid")), which uses $2"
    done
    [ -z "$pids" ] || bounded 5 fuser -k "-$1" -M -m "$2" >/dev/null 2>&1
}

# A successful umount is no proof: another mount namespace may still have the device.
prove_free() {
    until_left=$(($(left) - PROOF_SECONDS))
    [ "$until_left" -gt 1 ] || until_left=1
    while [ -n "$(mounted_anywhere)" ] || ! exclusive; do
        if [ "$(left)" -le "$until_left" ]; then
            name_holders
            exclusive || say "it cannot be opened exclusively: $busy"
            fail "$MOUNT_DEVICE is not released: end what is named above," \
                "or look at lsblk $MOUNT_DEVICE"
        fi
        sleep "$WATCH_SECONDS"
    done
}

# The device has no node here. It is free only if no mount on this host can be one of it: neither by
# name or place, nor of any device that has vanished.
surely_gone() {
    mounts=$(cat /proc/[0-9]*/mountinfo 2>/dev/null | sort -u)
    [ -n "$mounts" ] || fail "cannot read /proc/*/mountinfo"
    while read -r _ _ dev _ point _ rest; do
        rest=${rest#*- }
        rest=${rest#* }
        case $dev in 0:*) continue ;; esac
        [ "${rest%% *}" != "$MOUNT_DEVICE" ] && [ "$point" != "$MOUNT_POINT" ] &&
            [ -e "/sys/dev/block/$dev" ] && continue
        fail "$MOUNT_DEVICE is missing, and $point carries ${rest%% *} ($dev):" \
            "cannot prove that it is free"
    done <<END
$mounts
END
    say "$MOUNT_DEVICE is missing, and nothing on this host is mounted from it"
}

# --- probe ---------------------------------------------------------------------------------------

probe() {
    look
    if [ -n "$mm" ] && [ "$on_mm" = "$mm" ]; then
        healthy || exit 3
        case $GLHA_PHASE,$GLHA_REASON in
            master,*) ;;                        # a routine look; why it is master does not matter
            *,resume) proven 4 || exit ;;
            # Asleep: another node may have begun to write meanwhile. Its name must show up within
            # its interval, so watch for longer than ours.
            *,lapse)
                read_superblock
                proven $((($(mmp_interval) + 1) * 5)) || exit ;;
        esac
        return
    fi
    [ -n "$(mounted_anywhere)" ] || exit 1
    name_holders
    fail "$MOUNT_DEVICE is mounted, but not on $MOUNT_POINT"
}

# -------------------------------------------------------------------------------------------------

service_do() {                                  # SECONDS start|stop NAME
    if [ -d /run/systemd/system ]; then
        bounded "$1" systemctl "$2" "$3"
    else
        bounded "$1" service "$3" "$2"
    fi
}

case $action in
    probe) failed=3 ;;                          # 1 would say: not held
    acquire | release) ;;
    *) echo "usage: $0 acquire|release|probe NAME" >&2; exit 64 ;;
esac
[ "$(id -u)" = 0 ] || fail "only root can mount: give the hooks block no other script_user"
for setting in "$MOUNT_DEVICE" "$MOUNT_POINT"; do
    [ -n "$setting" ] || fail "MOUNT_DEVICE and MOUNT_POINT must be set, by env in the hooks block"
done
MOUNT_POINT=$(readlink -m "$MOUNT_POINT")       # the kernel knows it without symbolic links
"$action"
