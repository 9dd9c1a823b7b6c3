#!/bin/sh
# shellcheck disable=SC2034,SC2154,SC2317  # the rest of the program is in lib/
# mount.sh: takes the shared storage for this node, and gives it back.
#
#   mount.sh acquire NAME   prove that no other node uses it, mount it, start the services
#   mount.sh release NAME   stop the services, unmount it, prove that it is free
#   mount.sh probe NAME     is it mounted here, and healthy?
#   mount.sh check NAME     would acquire and release work? Changes nothing; `glha -t` asks it
# glha: check
#
# acquire, release: exit 0 done, 75 please try again, else failed: nothing is taken for granted.
# probe: exit 0 held and healthy, 1 not held, else held. After an absence (reason resume or lapse)
#        0 also says proven to be ours alone, 2 that this guard cannot prove it. 3 is unhealthy, or
#        not ours any more.
# check: exit 0 nothing to say, 1 a line for each problem.
# Every line printed goes to the daemon's log.
#
# This file is yours. What each step does stands in lib/ beside it, one file a guard, one a layer of
# storage; upgrades replace those. glha-hooks(7) describes them, and how to add one of your own.

# --- settings; an `env` line of the hooks block wins over a value given here ---------------------

: "${MOUNT_DEVICE:=}"            # the shared block device: /dev/mapper/mpath0-part1, UUID=...
: "${MOUNT_POINT:=}"             # where it belongs
: "${MOUNT_TABLE:=}"             # instead of these two: a file of several, in the format of fstab(5)
: "${MOUNT_TYPE:=ext4}"
: "${MOUNT_OPTIONS:=defaults}"
: "${MOUNT_OWNER:=}"             # of the mounted root directory: git:git; empty leaves it alone
: "${MOUNT_MODE:=}"              # of the mounted root directory: 755; empty leaves it alone
: "${SERVICES:=}"                # what uses the storage, in the order of starting
: "${START_SECONDS:=}"           # how long one service may take to start; empty: what is left
: "${STOP_SECONDS:=}"            # how long one may take to stop; empty: half of what is left
: "${KILL_AFTER:=5}"             # seconds after TERM until who still holds the storage gets KILL
: "${LAYERS:=}"                  # what is opened below the mounts: lvm:VG luks:NAME=/dev/vg/lv
: "${LUKS_KEY:=}"                # layer luks: the key file
: "${GUARD:=mmp}"                # what proves that the other node is off it: scsi-pr mmp fence drbd none
: "${FENCE_COMMAND:=}"           # guard fence: exit 0 means that the other node is surely off
: "${FENCE_WHEN:=always}"        # guard fence: `unproven` spares a node that has proven its release
: "${ACCEPT_RISK:=no}"           # guard none: `yes` mounts even without a proven release
: "${DRBD_RESOURCE:=}"           # guard drbd: the resource
: "${PR_KEY:=}"                  # guard scsi-pr: this node's key; empty makes one of the host name
: "${PR_DEVICE:=}"               # guard scsi-pr: the whole devices; empty finds them
: "${PR_COMMAND:=}"              # guard scsi-pr: sg_persist or mpathpersist; empty decides
: "${PR_PREEMPT:=preempt-abort}" # guard scsi-pr: or preempt, for an array that knows only that

# --- your own steps; each may be run twice ---------------------------------------------------------

before_mount() { :; }            # the devices are ours, nothing is mounted; a failure fails the acquire
after_mount() { :; }             # all is mounted, no service runs yet; a failure fails the acquire
before_unmount() { :; }          # the services are stopped, all is still mounted
after_unmount() { :; }           # nothing is mounted, and no other node may have it yet

# --- what happens ----------------------------------------------------------------------------------

acquire() {
    refuse_what_cannot_work      # settings, tools, mount points: what could not be given back
    await_devices                # paths that come back take a moment
    write_record                 # release and probe go by this, whatever the settings say by then
    take_guard                   # proof that no other node is at work, or it ends here
    open_layers                  # LVM, LUKS
    before_mount || fail "before_mount has failed"
    mount_everything             # in order; repaired if it must be, and looked at afterwards
    after_mount || fail "after_mount has failed"
    start_services
    say "$what_is_held (guard $GUARD)"
}

release() {
    recall                       # what acquire wrote down
    stop_services                # units are stopped, not processes killed
    before_unmount || say "before_unmount has failed"
    unmount_everything           # in reverse; who still holds it gets TERM, then KILL
    after_unmount || say "after_unmount has failed"
    prove_free                   # on this whole host: umount alone proves nothing
    close_layers
    give_up_guard
    forget
}

probe() {
    recall
    is_held || exit 1
    look_healthy                 # writable, and a synced write comes back; or it ends here
    look_exclusive               # after an absence: still ours alone?
}

check() {
    look_at_settings
    look_at_mounts
    look_at_services
}

# ---------------------------------------------------------------------------------------------------

here=$(dirname "$0")
for lib in "$here/lib" /usr/local/share/glha/lib /usr/share/glha/lib; do
    [ ! -r "$lib/storage.sh" ] || break
done
[ -r "$lib/storage.sh" ] || { echo "$lib/storage.sh is missing: install glha again"; exit 3; }
# shellcheck source=/dev/null
. "$lib/storage.sh"
run "$@"; exit                   # one line: the shell reads no further, so this file may be edited
