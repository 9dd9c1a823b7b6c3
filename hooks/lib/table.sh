# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# What is to be mounted where: of MOUNT_TABLE, or of MOUNT_DEVICE and MOUNT_POINT as its only line.

# Sets `table`: a line "DEVICE<tab>POINT<tab>TYPE<tab>OPTIONS" for each mount, in order.
read_table() {
    if [ -z "$MOUNT_TABLE" ]; then
        # The kernel knows it without symbolic links.
        table="$MOUNT_DEVICE$TAB$(plain_path "$MOUNT_POINT")$TAB$MOUNT_TYPE$TAB$MOUNT_OPTIONS"
        return
    fi
    [ -r "$MOUNT_TABLE" ] || fail "MOUNT_TABLE $MOUNT_TABLE cannot be read"
    raw=$(findmnt -F "$MOUNT_TABLE" -r -n -o SOURCE,TARGET,FSTYPE,OPTIONS) && [ -n "$raw" ] ||
        fail "MOUNT_TABLE $MOUNT_TABLE: findmnt -F finds no line in it"
    count=$(grep -c '^[[:space:]]*[^#[:space:]]' "$MOUNT_TABLE")
    [ "$count" = "$(printf '%s\n' "$raw" | wc -l)" ] ||
        fail "MOUNT_TABLE $MOUNT_TABLE has $count lines, and not all of them can be read: findmnt --verify -F $MOUNT_TABLE"
    table=''
    while read -r device point type options; do
        point=$(plain_path "$(unhex "$point")")
        add_line "$(unhex "$device")$TAB$point$TAB$type$TAB$(unhex "$options")"
    done <<END
$raw
END
}
add_line() { table="$table${table:+$NL}$1"; }

# findmnt writes unusual bytes as \xHH, and the printf of POSIX wants \0OOO.
unhex() {
    case $1 in
        *\\x*)
            printf '%b' "$(printf '%s\n' "$1" | awk '{
                while (match($0, /\\x[0-9a-f][0-9a-f]/)) {
                    high = index("0123456789abcdef", substr($0, RSTART + 2, 1)) - 1
                    low = index("0123456789abcdef", substr($0, RSTART + 3, 1)) - 1
                    printf "%s\\0%03o", substr($0, 1, RSTART - 1), high * 16 + low
                    $0 = substr($0, RSTART + 4)
                }
                print }')" ;;
        *) printf '%s' "$1" ;;
    esac
}

# The path without symbolic links, also of what is not there (not every readlink has -m).
plain_path() {
    rest_of_path=''
    real=$1
    until real_path=$(readlink -f -- "$real" 2>/dev/null); do
        case $real in */*) ;; *) break ;; esac
        rest_of_path=/${real##*/}$rest_of_path
        real=${real%/*}
        [ -n "$real" ] || { real_path=''; break; }
    done
    [ "$real_path" != / ] || [ -z "$rest_of_path" ] || real_path=''
    printf '%s\n' "$real_path$rest_of_path"
}

# Calls a function for each line: each_line FUNCTION, which finds device, point, type and options set.
each_line() {
    while IFS=$TAB read -r device point type options; do
        [ -z "$device" ] || "$1"
    done <<END
$table
END
}

# A line without a device of its own: a bind mount of a folder, or a file system without a disk.
is_bind() { case ,$options, in *,bind,* | *,rbind,*) ;; *) return 1 ;; esac; }
may_fail() { case ,$options, in *,nofail,*) ;; *) return 1 ;; esac; }
has_device() { ! is_bind && case $type in tmpfs | overlay) return 1 ;; *) return 0 ;; esac; }

# /dev/mapper/x of /dev/mapper/x or UUID=...; udev's links know multipath, which findfs may not.
device_path() {
    case $1 in
        UUID=*) by=/dev/disk/by-uuid/${1#*=} ;;
        LABEL=*) by=/dev/disk/by-label/${1#*=} ;;
        PARTUUID=*) by=/dev/disk/by-partuuid/${1#*=} ;;
        PARTLABEL=*) by=/dev/disk/by-partlabel/${1#*=} ;;
        *) echo "$1"; return ;;
    esac
    [ -b "$by" ] || by=$(findfs "$1" 2>/dev/null) || by=$1
    echo "$by"
}

# --- what is refused of a table, before anything is mounted ---------------------------------------

# Where a mount would hide the system, or what it needs to come up.
belongs_to_system() {
    case $1 in
        /usr/local/?* | /var/lib/?* | /var/log/?* | /var/tmp/?* | /boot/?*/?*) return 1 ;;
        / | /bin | /boot | /boot/* | /dev | /dev/* | /etc | /lib | /lib?? | /libx32 | /proc | /proc/* | /root | \
        /run | /sbin | /sys | /sys/* | /tmp | /usr | /usr/* | /var | /var/lib | /var/log | /var/tmp) ;;
        *) return 1 ;;
    esac
}

look_at_points() {
    points_before=$NL devices_before=$NL
    each_line look_at_point
}

look_at_point() {
    case $type,$point in
        swap,* | *,none) problem "$device: swap cannot move to another node"; return ;;
    esac
    ! belongs_to_system "$point" ||
        problem "MOUNT_POINT $point belongs to this system: nothing is mounted there"
    # Inside a mount of ours the folder may well be on the disk.
    if [ ! -e "$point" ] && ! is_inside; then
        problem "MOUNT_POINT $point is missing: install -d -m 0 $point"
    elif [ -e "$point" ] && [ ! -d "$point" ] && ! is_bind; then
        problem "MOUNT_POINT $point is not a folder"
    fi
    case $points_before in *"$NL$point$NL"*) problem "MOUNT_POINT $point is named twice" ;; esac
    case $points_before in
        *"$NL$point/"*) problem "$point stands after what lies below it, and would hide that: put it first" ;;
    esac
    points_before=$points_before$point$NL
    has_device || return 0
    # A disk has many names, and one number.
    key=$(number_of "$(device_path "$device")")
    key=${key:-$device}
    # Subvolumes of one btrfs are several mounts of one device.
    case $devices_before,$options in
        *"$NL$key$TAB"*subvol*) ;;
        *"$NL$key$TAB"*)
            named=${devices_before#*"$NL$key$TAB"}
            named=${named%%"$NL"*}
            case $named in
                "$device") problem "$device is named twice" ;;
                *) problem "$named and $device are the same disk: it is named twice" ;;
            esac ;;
    esac
    devices_before=$devices_before$key$TAB$device$NL
}

is_inside() {
    inside=$point
    while inside=${inside%/*} && [ -n "$inside" ]; do
        case $points_before in *"$NL$inside$NL"*) return ;; esac
    done
    return 1
}

# --- what `check` says besides -----------------------------------------------------------------------

look_at_mounts() {
    [ "$problems" = 0 ] || { [ -n "$MOUNT_DEVICE$MOUNT_TABLE" ] && [ -n "$MOUNT_POINT$MOUNT_TABLE" ]; } || return 0
    read_table
    look_at_points
    for layer in $LAYERS; do
        part_file layer "${layer%%:*}" || { problem "LAYERS: there is no layer ${layer%%:*}"; continue; }
        call layer "${layer%%:*}" needs "${layer#*:}"
    done
    recall
    each_line look_at_line
    part_file guard "$GUARD" && call guard "$GUARD" needs
}

look_at_line() {
    [ ! -d "$point" ] || [ -n "$(carried "$point")" ] || is_inside || [ -z "$(ls -A "$point")" ] ||
        advice "MOUNT_POINT $point is not empty: what lies there is hidden by the mount"
    has_device || return 0
    path=$(device_path "$device")
    if [ ! -e "$path" ]; then
        [ -n "$LAYERS" ] || may_fail ||
            problem "MOUNT_DEVICE $device: No such file or directory; it has to be there when this node takes over," \
                "look at multipath -ll"
        return
    fi
    look_at_device "$path"
    look_at_fstab "$path"
    look_at_guest "$path"
    [ -b "$path" ] || return 0
    look_at_type "$path"
    call fs "$(family "$type")" needs "$path"
}

# An upgrade of the host, or its next boot, would mount it on both nodes.
look_at_fstab() {
    [ -r /etc/fstab ] || return 0
    while read -r source target _ fstab_options _; do
        case $source in '#'* | '') continue ;; esac
        case ,$fstab_options, in *,noauto,*) continue ;; esac
        [ "$(number_of "$(device_path "$source")")" = "$(number_of "$1")" ] && [ -n "$(number_of "$1")" ] ||
            [ "$target" = "$point" ] || continue
        advice "fstab(5) mounts $source on $target at boot, on whichever node boots: add noauto there"
    done </etc/fstab
}

# Mounted, and not by an acquire: another instance has it, or a person.
look_at_guest() {
    number=$(number_of "$1")
    [ -n "$number" ] && [ -z "$is_recorded" ] || return 0
    on=$(mounted_at "$number" | head -n 1)
    [ -z "$on" ] || advice "$device is mounted on $on already, and no acquire of $name has done that"
}

look_at_type() {
    found_type=$(blkid -p -o value -s TYPE "$1" 2>/dev/null)
    case $type,$found_type in
        *, | auto,* | "$found_type,$found_type") ;;
        ext?,ext?) ;;
        *) problem "$device carries $found_type, and MOUNT_TYPE is $type" ;;
    esac
}
