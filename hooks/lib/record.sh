# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# What was acquired is what is released: acquire writes down device numbers, mount points, settings and
# layers before it mounts anything, and release and probe go by that, whatever a setting or a link
# says by then. Without a record (never acquired, or by 0.1) they go by the settings.
#
# held_devices   lines "NUMBER PATH", one for each device that is mounted
# held_points    lines "NUMBER POINT", in order of mounting; NUMBER is - for what has no device
# held_numbers   all numbers that a mount of ours can have, with a blank on either side
# held_layers    what is opened, in order
# held_node      the name that the kernel writes into MMP blocks

record_file() {
    echo "$GLHA_RUN_DIR/storage/$(printf '%s' "$name" | sed 's/%/%25/g; s,/,%2f,g; s/^\./%2e/')"
}

# Of the settings as they are now.
from_settings() {
    held_devices='' held_points='' held_numbers=' ' held_layers=$LAYERS held_node='' is_recorded=''
    [ -n "$MOUNT_DEVICE$MOUNT_TABLE" ] && [ -n "$MOUNT_POINT$MOUNT_TABLE" ] ||
        fail "MOUNT_DEVICE and MOUNT_POINT must be set, by env in the hooks block"
    read_table
    each_line hold_line
}
hold_line() {
    number=-
    if has_device; then
        path=$(device_path "$device")
        number=$(number_of "$path")
        # A device that vanished under its mount has no node any more, but is still held.
        [ -n "$number" ] || number=$(number_by_source "$path" "$point")
        number=${number:-gone}
        hold_device "$number" "$path"
    fi
    held_points="$held_points${held_points:+$NL}$number $point"
}
hold_device() {
    case "$NL$held_devices$NL" in
        *"$NL$1 $2$NL"*) ;;
        *) held_devices="$held_devices${held_devices:+$NL}$1 $2" held_numbers="$held_numbers$1 " ;;
    esac
}

recall() {
    record=$(record_file)
    boot=$(cat /proc/sys/kernel/random/boot_id)
    [ -r "$record" ] && [ "$(sed -n 's/^boot //p' "$record")" = "$boot" ] || { from_settings; return; }
    held_devices='' held_points='' held_numbers=' ' held_layers='' held_node='' table='' is_recorded=yes
    while read -r word value; do
        case $word in
            setting) [ "$action" = check ] || recall_setting "${value%%=*}" "${value#*=}" ;;
            device) hold_device "${value%% *}" "${value#* }" ;;
            number) held_numbers="$held_numbers$value " ;;
            point) held_points="$held_points${held_points:+$NL}$value" ;;
            layer) held_layers="$held_layers $value" ;;
            node) held_node=$value ;;
            line) add_line "$value" ;;
        esac
    done <"$record"
    [ "$action" != check ] || read_table
}

recall_setting() {                              # NAME VALUE
    case $SETTINGS in *"$NL$1 "*) ;; *) return ;; esac
    setting "$1"
    [ "$setting_value" = "$2" ] || [ "$action" != release ] ||
        say "$1 is '$setting_value' by now; what is held was acquired with '$2', and is released so"
    recalled=$2
    eval "$1=\$recalled"
}

# Before the first thing that has to be undone. Sets is_there: everything is mounted already.
write_record() {
    refuse_another
    from_settings
    find_anonymous
    is_there=no
    if everything_is_there; then
        is_there=yes
        held_node=$(sed -n 's/^node //p' "$(record_file)" 2>/dev/null)
    else
        points=$(mount_points)
        [ -z "$points" ] ||
            fail "$(names_of_devices) is mounted on $(echo "$points" | paste -s -d ' ') already: release that first"
        points=$(foreign_points)
        [ -z "$points" ] || fail "$points: unmount that first"
    fi
    save_record
}

# What a former acquire with other settings took is released first, and by its own settings.
refuse_another() {
    [ -r "$(record_file)" ] || return 0
    former=$(
        recall >/dev/null
        [ -z "$is_recorded" ] || [ -z "$(mounted_anywhere)" ] || echo "$held_devices"
    )
    [ -n "$former" ] || return 0
    from_settings
    [ "$former" = "$held_devices" ] ||
        fail "a former acquire of $name, with other settings, still holds ${former#* }: release that first"
}

save_record() {
    record=$(record_file)
    new=$record.$$
    mkdir -p "$GLHA_RUN_DIR" && (umask 077 && mkdir -p "$GLHA_RUN_DIR/storage") && {
        echo "boot $(cat /proc/sys/kernel/random/boot_id)"
        while read -r key _; do
            [ -n "$key" ] || continue
            setting "$key"
            echo "setting $key=$setting_value"
        done <<END
$SETTINGS
END
        printf '%s\n' "$table" | sed 's/^/line /'
        printf '%s\n' "$held_devices" | sed -n 's/^./device &/p'
        printf '%s\n' "$held_points" | sed -n 's/^./point &/p'
        for number in $held_numbers; do echo "number $number"; done
        for layer in $held_layers; do echo "layer $layer"; done
        echo "node $held_node"
    } >"$new" && mv "$new" "$record" || fail "cannot write $record: nothing is mounted without it"
}

forget() { rm -f "$(record_file)"; }
