# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# What is mounted, as the kernel says in /proc/PID/mountinfo.

# It writes blanks, tabs, line ends and backslashes in paths as \OOO.
decode() { case $1 in *\\*) printf '%b\n' "$1" ;; *) printf '%s\n' "$1" ;; esac; }

# Calls a function for each mount of this namespace in order, with mount_number, mount_on, mount_type,
# mount_source and mount_options set.
each_mount() {
    while read -r _ _ mount_number _ mount_on mount_options rest; do
        rest=${rest#*- }                        # TYPE SOURCE SUPER_OPTIONS
        mount_type=${rest%% *}
        rest=${rest#* }
        mount_source=${rest%% *} mount_options=$mount_options,${rest##* }
        case $mount_source$mount_on in
            *\\*) mount_source=$(decode "$mount_source") mount_on=$(decode "$mount_on") ;;
        esac
        "$1"
    done <<END
$(cat /proc/self/mountinfo)
END
}

# Sets on_number, on_source, on_options of what lies on top of a mount point (empty: nothing).
look() {
    looked_at=$1 on_number='' on_source='' on_options=''
    each_mount look_one
}
look_one() {
    [ "$mount_on" != "$looked_at" ] ||
        { on_number=$mount_number on_source=$mount_source on_options=$mount_options; }
}
carried() { (look "$1"; echo "$on_source"); }

mounted_at() { (wanted_number=$1; each_mount mounted_at_one); }
mounted_at_one() { [ "$mount_number" != "$wanted_number" ] || echo "$mount_on"; }

number_by_source() { (look "$2"; [ "$on_source" != "$1" ] || echo "$on_number"); }

# btrfs has numbers of its own for what it mounts; the device stands there as the source only.
find_anonymous() {
    grep -q '[[:space:]]btrfs$' /proc/filesystems || return 0
    while read -r _ _ mount_number _ _ _ rest; do
        rest=${rest#*- }
        case $rest,$mount_number in btrfs*,0:*) ;; *) continue ;; esac
        in_words "$mount_number" "$held_numbers" && continue
        rest=${rest#* }
        number=$(number_of "$(decode "${rest%% *}")")
        [ -n "$number" ] && in_words "$number" "$held_numbers" && held_numbers="$held_numbers$mount_number "
    done <<END
$(grep -h -s ' - btrfs ' /proc/[0-9]*/mountinfo | sort -u)
END
}

# The mountinfo files of all processes, in every mount namespace, that know one of our numbers.
mounted_anywhere() {
    find_anonymous
    pattern=''
    for number in $held_numbers; do
        case $number in *:*) pattern="$pattern${pattern:+|}$number" ;; esac
    done
    [ -n "$pattern" ] && grep -s -l -E "^[0-9]+ [0-9]+ ($pattern) " /proc/[0-9]*/mountinfo
}

# Where what is held is mounted here, and what is mounted below it: last one first, one a line.
mount_points() {
    find_anonymous
    (ours=$NL all=''
    each_mount mount_point_one
    printf '%s' "$all")
}
mount_point_one() {
    if in_words "$mount_number" "$held_numbers"; then
        ours=$ours$mount_on$NL
    else
        case "$NL$held_points$NL" in *"$NL- $mount_on$NL"*) ours=$ours$mount_on$NL ;; *) is_below_ours || return 0 ;; esac
    fi
    all=$mount_on$NL$all
}
is_below_ours() {
    above=$mount_on
    while above=${above%/*} && [ -n "$above" ]; do
        case $ours in *"$NL$above$NL"*) return ;; esac
    done
    case $ours in *"$NL$mount_on$NL"*) return ;; esac
    return 1
}

# A mount point that carries something else is not free either: nobody knows what it is.
foreign_points() {
    printf '%s\n' "$held_points" | while read -r number point; do
        [ -n "$point" ] || continue
        source=$(carried "$point")
        [ -z "$source" ] || say "$point carries $source instead of $(device_of "$number")"
    done
}
device_of() {                                   # NUMBER
    found=$(printf '%s\n' "$held_devices" | sed -n "s/^$1 //p" | head -n 1)
    echo "${found:-nothing}"
}
names_of_devices() { printf '%s\n' "$held_devices" | sed 's/^[^ ]* //' | sort -u | paste -s -d , | sed 's/,/, /g'; }

# Opens a device with O_EXCL and writes nothing: busy as long as any mount on this host is alive,
# whichever namespace it hides in (umount alone proves nothing, dd cannot open so).
exclusive() {
    # Nobody can have a secondary of DRBD open, and to open it would promote it.
    [ "$GUARD" != drbd ] || ! drbd_read >/dev/null || [ "$drbd_role" != Secondary ] || return 0
    busy=$(wipefs --no-act --all --types ext4 "$1" 2>&1 >/dev/null)
}

# Who still holds it: by mount namespace, by open files even after a lazy unmount, or the kernel itself.
name_holders() {
    space_here=$(readlink /proc/self/ns/mnt)
    devices=$(names_of_devices)
    for file in $(mounted_anywhere); do
        pid=${file#/proc/} pid=${pid%/mountinfo}
        space=$(readlink "/proc/$pid/ns/mnt") || continue       # gone since
        [ "$space" = "$space_here" ] ||
            say "$devices is mounted in mount namespace $space: pid $pid ($(comm_of "$pid"))"
    done | head -n 20
    points=$(mount_points)
    [ -z "$points" ] || say "$devices is still mounted here: $(echo "$points" | paste -s -d ' ')"
    printf '%s\n' "$points" | while read -r point; do
        [ -n "$point" ] || continue
        grep -s "^$point/" /proc/swaps | sed 's/[[:space:]].*/ is a swap file: swapoff it/'
        for file in /sys/block/loop*/loop/backing_file; do
            backing=$(cat "$file" 2>/dev/null) || continue
            loop=${file#/sys/block/} loop=${loop%%/*}
            case $backing in "$point"/*) say "$backing is behind /dev/$loop: losetup -d /dev/$loop" ;; esac
        done
    done
    numbers=' '
    for number in $held_numbers; do
        case $number in *:*) ;; *) continue ;; esac
        # The kernel's device number as stat(1) prints it.
        numbers="$numbers$(((${number#*:} & 255) | (${number%:*} << 8) | ((${number#*:} & ~255) << 12))) "
    done
    printf '%s\n' /proc/[0-9]*/cwd /proc/[0-9]*/root /proc/[0-9]*/exe /proc/[0-9]*/fd/* |
        bounded 5 xargs stat -L -c '%d %n' 2>/dev/null |
        while read -r on file; do
            in_words "$on" "$numbers" || continue
            user=${file#/proc/} user=${user%%/*}
            say "in use by pid $user ($(comm_of "$user")) in $(readlink "/proc/$user/ns/mnt")"
        done | sort -u | head -n 20
}
