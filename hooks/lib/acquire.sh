# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# The steps of acquire: guard, layers, mounts.

fences=no               # a guard sets it to yes: the other node can write no more, or is off

take_guard() {
    if [ "$is_there" = no ]; then
        call guard "$GUARD" take
        return
    fi
    each_point healthy_point
    # A reservation can be taken again; what only a mount proves is asked about.
    case $GUARD in
        none | fence) ;;
        mmp) call guard mmp proven 4 || exit 1 ;;
        *) call guard "$GUARD" take ;;
    esac
}

# Has the other node let go, or does the administrator take the risk?
is_proven_or_accepted() {
    [ "$GLHA_RELEASED" != 1 ] || return 0
    [ "$ACCEPT_RISK" = yes ] || return 1
    say "no proof that $(names_of_devices) is free; ACCEPT_RISK says go on"
}

open_layers() {
    [ -n "$LAYERS" ] && [ "$is_there" = no ] || return 0
    for layer in $LAYERS; do call layer "${layer%%:*}" take "${layer#*:}"; done
    from_settings                               # the devices have appeared
    save_record
}

# All or nothing: what is mounted already when one cannot be is unmounted again.
mount_everything() {
    mounted=''
    each_line mount_line
    held_node=$(node_of_mmp)
    save_record
    still_ours
    each_line set_owner
    what_is_held="$(names_of_devices) is mounted on $(printf '%s\n' "$held_points" |
        sed 's/^[^ ]* //' | paste -s -d ' ')"
}

# Who began a moment later took our guard for that of an old holder, and has fenced us meanwhile:
# nothing may be started here that believes in its writes.
still_ours() {
    [ "$fences" = yes ] || return 0
    (call guard "$GUARD" proven 1)
    case $? in
        0 | 2) ;;                               # 2: it cannot prove it at any time
        3) give_back_later "$(names_of_devices) was taken by another node meanwhile" ;;
        *) give_back "guard $GUARD cannot tell whether $(names_of_devices) is still ours" ;;
    esac
}

mount_line() {
    if [ "$is_there" = yes ]; then
        has_device && say "$device is already mounted on $point"
        return
    fi
    path=$(device_path "$device")
    [ -d "$point" ] || is_bind || mkdir -p "$point" || give_back "cannot make $point"
    if ! has_device; then
        bounded "$MOUNT_CLEAN_SECONDS" mount -t "${type:-none}" -o "$options" "$device" "$point" ||
            give_back "mount of $device on $point ended with status $?"
    else
        [ -b "$path" ] || { may_fail && say "$device is not there, and may fail" && return; }
        number=$(number_of "$path")
        # Without its number nothing of what follows would prove anything.
        [ -n "$number" ] || give_back "$path is no block device any more"
        mount_device
        look "$point"
        in_words "$on_number" "$held_numbers" ||
            give_back "$point carries ${on_source:-nothing} instead of $device"
        call fs "$family" mounted "$path"
        rm -f "$point"/.glha-probe*             # of probes that were killed
        healthy "$point" || give_back "$device is not healthy"
    fi
    mounted="$point$NL$mounted"
}

# Ends the acquire, with nothing mounted.
give_back() { undo_mounts; fail "$@"; }
give_back_later() { undo_mounts; later "$@"; }
undo_mounts() {
    while read -r back; do
        [ -z "$back" ] || umount -- "$back"
    done <<END
$mounted
END
}

mount_device() {
    kind=$type
    drop_cache "$path"
    [ "$kind" != auto ] || kind=$(blkid -p -o value -s TYPE "$path")
    family=$(family "$kind")
    mount_seconds=$MOUNT_CLEAN_SECONDS
    more_options='' watches=no
    call fs "$family" take "$path"              # repaired if it must be, waited for, or it ends here
    while :; do
        # Again right before: an old block in the cache would be taken for what is on the disk.
        drop_cache "$path"
        mount_watched
        [ "$status" != 0 ] || break
        [ "$turned_clean" = no ] || continue
        call fs "$family" refused "$path"       # 0: it was in use, and is not any more
        verdict=$?
        [ "$verdict" != 0 ] || [ "$(left)" -le 2 ] || continue
        [ "$verdict" != 75 ] || give_back_later "$device is in use by $(holder_of "$path")"
        [ "$status" != 124 ] || give_back "mount of $device did not end within $mount_seconds s"
        give_back "mount of $device ended with status $status: see the kernel log (dmesg)"
    done
    find_anonymous
}

# The kernel waits for a mark that is not clean, and refuses in the end if it turns clean meanwhile. So
# the block is watched: when it is clean, the wait is ended and begun anew, which takes no time then.
mount_watched() {
    turned_clean=no
    timeout --foreground -k 2 "$mount_seconds" \
        mount -t "$kind" -o "$options$more_options" -- "$path" "$point" &
    mounting=$!
    while [ "$watches" = yes ] && kill -0 "$mounting" 2>/dev/null; do
        if call fs "$family" has_turned_clean "$path"; then
            turned_clean=yes watches=no
            kill "$mounting" 2>/dev/null        # timeout(1) hands it on
            break
        fi
        sleep "$WATCH_SECONDS"
    done
    wait "$mounting" 2>/dev/null                # the shell tells who was ended
    status=$?
}

set_owner() {
    has_device || return 0
    [ -z "$MOUNT_OWNER" ] || chown "$MOUNT_OWNER" "$point" || exit 1
    [ -z "$MOUNT_MODE" ] || chmod "$MOUNT_MODE" "$point" || exit 1
}
