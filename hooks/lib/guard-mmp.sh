# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# Guard mmp: the kernel itself refuses to mount what another node has mounted. The work is done in
# fs-ext.sh, which looks at MMP whatever the guard is; here it only must be there.

mmp_needs() { each_line mmp_needs_line; }
mmp_needs_line() {
    has_device || return 0
    path=$(device_path "$device")
    case $type in
        ext? | auto) ;;
        *) problem "GUARD mmp is for ext4, and $device is $type: use scsi-pr, fence or drbd"; return ;;
    esac
    # In acquire the device is looked at when it is there.
    [ "$action" = check ] && [ -b "$path" ] || return 0
    has_tool dumpe2fs || return 0
    read_superblock "$path"
    [ -z "$superblock" ] || has mmp || problem "GUARD mmp, but $(no_mmp "$path")"
}

mmp_take() { :; }

mmp_proven() {                                  # LOOKS
    while read -r number path; do
        [ -n "$path" ] && [ "$number" != gone ] || continue
        ext_proven "$(node_of "$number" "$path")" "$1" || return
    done <<END
$held_devices
END
}

mmp_give_up() { :; }
