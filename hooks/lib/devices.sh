# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# Devices, by their major:minor number: names and links may change under a mount.

# Prints MAJOR:MINOR of a block device, nothing of anything else.
number_of() { [ -b "$1" ] && mountpoint -x "$1" 2>/dev/null; }

# A path under which a device number can be opened: the one it had, or the kernel's own name.
node_of() {                                     # NUMBER PATH
    [ "$(number_of "$2")" != "$1" ] || { echo "$2"; return; }
    node=/dev/$(sed -n 's/^DEVNAME=//p' "/sys/dev/block/$1/uevent" 2>/dev/null)
    [ "$(number_of "$node")" != "$1" ] || echo "$node"
}

exists() { [ -e "/sys/dev/block/$1" ]; }

# The device and everything that it lies on: whole disks, paths, physical volumes.
below() {                                       # NUMBER
    echo "$1"
    for slave in "/sys/dev/block/$1"/slaves/*/dev; do
        [ -r "$slave" ] && (below "$(cat "$slave")")
    done
    [ ! -e "/sys/dev/block/$1/partition" ] || (below "$(cat "/sys/dev/block/$1/../dev")")
}

# The numbers of what this system itself lives on.
system_numbers() {
    for place in / /usr /var /boot /boot/efi /etc /home /var/log; do
        mountpoint -q "$place" || continue
        # Unless that is where the shared storage belongs.
        case $NL$table in *"$TAB$place$TAB"*) continue ;; esac
        system=$(mountpoint -d "$place") || continue
        case $system in
            0:*)                                # btrfs and its like: by the device behind it
                system=$(number_of "$(findmnt -n -o SOURCE -T "$place" | sed 's/\[.*//')")
                [ -n "$system" ] || continue ;;
        esac
        (below "$system")
    done
    while read -r swap _; do
        system=$(number_of "$swap")
        [ -z "$system" ] || (below "$system")
    done </proc/swaps
}

# The system's own disk is never taken: release would end every process of the host.
look_at_device() {                              # PATH
    if [ ! -b "$1" ]; then
        problem "MOUNT_DEVICE $1 is not a block device"
    elif in_words "$(number_of "$1")" "$(system_numbers | tr '\n' ' ')"; then
        problem "MOUNT_DEVICE $1 is what this system itself runs from: name the shared device"
    fi
}

kind_of() { cat "/sys/dev/block/$1/dm/uuid" 2>/dev/null; }

# The shared devices themselves, below partitions, LVM and LUKS: what a reservation belongs to. A
# multipath device is one; its paths are not named.
bottoms_of() {                                  # PATH
    bottom=$(number_of "$1")
    if [ -z "$bottom" ]; then
        closed_bottoms
        return
    fi
    (bottom_numbers "$bottom") | sort -u | while read -r bottom; do
        mapper=$(cat "/sys/dev/block/$bottom/dm/name" 2>/dev/null)
        if [ -n "$mapper" ] && [ -b "/dev/mapper/$mapper" ]; then
            echo "/dev/mapper/$mapper"
        else
            node_of "$bottom" "$1"
        fi
    done
}
bottom_numbers() {
    case $(kind_of "$1") in mpath-*) echo "$1"; return ;; esac
    if [ -e "/sys/dev/block/$1/partition" ]; then
        (bottom_numbers "$(cat "/sys/dev/block/$1/../dev")")
        return
    fi
    is_leaf=yes
    for slave in "/sys/dev/block/$1"/slaves/*/dev; do
        [ -r "$slave" ] || continue
        is_leaf=no
        (bottom_numbers "$(cat "$slave")")
    done
    [ "$is_leaf" = no ] || echo "$1"
}

# A layer that is still closed says itself what it lies on.
closed_bottoms() {
    for layer in $LAYERS; do
        call_name=$(echo "${layer%%:*}" | tr - _)_below
        command -v "$call_name" >/dev/null || continue
        "$call_name" "${layer#*:}" | while read -r part_of; do
            [ ! -b "$part_of" ] || bottoms_of "$part_of"
        done
    done
}

# Every shared device of the table.
all_bottoms() { each_line line_bottoms | sort -u; }
line_bottoms() { if has_device; then bottoms_of "$(device_path "$device")"; fi; }

# Paths that come back take a moment. Longer than that the other node shall have its turn.
await_devices() {
    patience=$(($(left) - DEVICE_SECONDS))
    [ "$patience" -ge 1 ] || patience=1
    each_line await_device
    [ "$problems" = 0 ] || exit 1
}
await_device() {
    has_device || return 0
    [ -z "$LAYERS" ] || return 0                # it appears when they are opened
    until path=$(device_path "$device") && [ -b "$path" ]; do
        if [ "$(left)" -le "$patience" ]; then
            ! may_fail || { say "$device is not there, and may fail"; return 0; }
            fail "$device is not there: look at multipath -ll, lsblk -f"
        fi
        sleep "$WATCH_SECONDS"
    done
    look_at_device "$path"
}

# Drops what the kernel has cached of a device that is not mounted here: another node may have written
# since, and a cache outlives its last mount while anybody keeps the device open.
drop_cache() {
    in_words "$(number_of "$1")" "$(awk '{ printf "%s ", $3 }' /proc/self/mountinfo)" && return
    blockdev --flushbufs "$1" || fail "cannot drop the page cache of $1"
}
