# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# Unmounting, and the proof that nothing on this host has the storage any more.

# First plainly; then whoever holds it gets TERM, and after KILL_AFTER seconds KILL. Never lazily: that
# hides a mount which goes on writing. Never by force: that loses data.
unmount_everything() {
    refuse_system
    told=' ' reason='' asked=$(seconds) patience=$(($(left) / 2))
    [ "$patience" -le "$KILL_AFTER" ] || patience=$KILL_AFTER
    while :; do
        unmount_once
        points=$(mount_points)
        [ -n "$points" ] || return 0
        if [ "$(left)" -le 2 ]; then
            name_holders
            fail "$(names_of_devices) could not be unmounted: $reason"
        fi
        signal=TERM
        [ $(($(seconds) - asked)) -lt "$patience" ] || signal=KILL
        end_users
        # At once: a service that comes back in a fifth of a second must not be in time.
        unmount_once
        [ -z "$(mount_points)" ] || sleep "$WATCH_SECONDS"
    done
}

unmount_once() {
    points=$(mount_points)
    while read -r point; do
        [ -n "$point" ] || continue
        said=$(umount -- "$point" 2>&1) || reason=$said
    done <<END
$points
END
}

# The devices come from a record or a setting; neither may aim at the system itself.
refuse_system() {
    system=" $(system_numbers | tr '\n' ' ')"
    for number in $held_numbers; do
        ! in_words "$number" "$system" ||
            fail "$(device_of "$number") is what this system itself runs from: it is not unmounted." \
                "Set MOUNT_DEVICE right"
    done
}

# -M: only if the path is a mount point. Without it fuser would take the file system that the bare
# folder lies on, the root file system, and end everything.
end_users() {
    while read -r point; do
        [ -n "$point" ] || continue
        pids=$(bounded 5 fuser -M -m "$point" 2>/dev/null)
        for pid in $pids; do
            in_words "$signal:$pid" "$told" && continue
            told="$told$signal:$pid "
            say "sending $signal to pid $pid ($(comm_of "$pid")), which uses $point"
        done
        [ -z "$pids" ] || bounded 5 fuser -k "-$signal" -M -m "$point" >/dev/null 2>&1
    done <<END
$points
END
}

# A successful umount is no proof: another mount namespace may still have the device.
prove_free() {
    patience=$(($(left) - PROOF_SECONDS))
    [ "$patience" -gt 1 ] || patience=1
    missing=''
    until nothing_is_mounted && all_exclusive; do
        if [ "$(left)" -le "$patience" ]; then
            name_holders
            [ -z "$busy" ] || say "it cannot be opened exclusively: $busy"
            fail "$(names_of_devices) is not released: end what is named above," \
                "or look at lsblk $(names_of_devices)"
        fi
        sleep "$WATCH_SECONDS"
    done
    [ -z "$missing" ] || surely_gone
    foreign=$(foreign_points)
    [ -z "$foreign" ] || fail "$foreign: unmount that first"
}
nothing_is_mounted() { [ -z "$(mounted_anywhere)" ]; }

all_exclusive() {
    busy='' missing='' are_exclusive=yes
    while read -r number path; do
        [ -n "$path" ] || continue
        node=$(node_of "$number" "$path")
        if [ -z "$node" ] || [ "$number" = gone ]; then
            missing=$path
        else
            exclusive "$node" || { are_exclusive=no; break; }
        fi
    done <<END
$held_devices
END
    [ "$are_exclusive" = yes ]
}

# A device has no node here. It is free only if no mount on this host can be one of it: neither by
# name or place, nor of any device that has vanished.
surely_gone() {
    mounts=$(cat /proc/[0-9]*/mountinfo 2>/dev/null | sort -u)
    [ -n "$mounts" ] || fail "cannot read /proc/*/mountinfo"
    while read -r _ _ dev _ point _ rest; do
        rest=${rest#*- }
        rest=${rest#* }
        case $dev in 0:*) continue ;; esac
        point=$(decode "$point") source=$(decode "${rest%% *}")
        case "$NL$held_points" in *" $point$NL"* | *" $point") is_ours=yes ;; *) is_ours=no ;; esac
        [ "$source" != "$missing" ] && [ "$is_ours" = no ] && exists "$dev" && continue
        fail "$missing is missing, and $point carries $source ($dev): cannot prove that it is free"
    done <<END
$mounts
END
    say "$missing is missing, and nothing on this host is mounted from it"
}

close_layers() {
    last_first=''
    for layer in $held_layers; do last_first="$layer $last_first"; done
    for layer in $last_first; do call layer "${layer%%:*}" give_up "${layer#*:}"; done
}

give_up_guard() {
    call guard "$GUARD" give_up
    say "$(names_of_devices) is free"
}
