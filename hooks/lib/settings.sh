# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# The table of settings, and what is refused at the door: whatever release could not undo.

# NAME and the pattern of what it may be; one more setting is one more line here.
SETTINGS='
MOUNT_DEVICE    device
MOUNT_POINT     path
MOUNT_TABLE     path
MOUNT_TYPE      word
MOUNT_OPTIONS   text
MOUNT_OWNER     owner
MOUNT_MODE      mode
SERVICES        text
START_SECONDS   number
STOP_SECONDS    number
KILL_AFTER      number
LAYERS          text
LUKS_KEY        path
GUARD           guard
FENCE_COMMAND   text
FENCE_WHEN      always|unproven
ACCEPT_RISK     yes|no
DRBD_RESOURCE   word
PR_KEY          key
PR_DEVICE       text
PR_COMMAND      word
PR_PREEMPT      preempt-abort|preempt
'
# Beginnings of names that nobody but mount.sh uses: what begins so and is not in the table is misspelt.
OUR_NAMES='MOUNT_|SERVICE|GUARD|FENCE_|ACCEPT_|DRBD_|LUKS_|LAYER|PR_|KILL_|START_SEC|STOP_SEC'
TOOLS='mountpoint:util-linux findmnt:util-linux wipefs:util-linux blockdev:util-linux blkid:util-linux
    timeout:coreutils readlink:coreutils stat:coreutils dd:coreutils sync:coreutils fuser:psmisc awk:mawk'

problems=0
problem() {
    say "$@"
    problems=1
}
# For `check` alone: no reason to stay away from the storage.
advice() { [ "$action" != check ] || problem "$@"; }

setting() { eval "setting_value=\${$1:-}"; }

# Is a value what the table says?
is_a() {                                        # PATTERN VALUE
    case $2 in '') return 0 ;; *[[:cntrl:]]*) return 1 ;; esac
    case $1 in
        path) case $2 in /*) ;; *) return 1 ;; esac ;;
        device) case $2 in /* | UUID=?* | LABEL=?* | PARTUUID=?* | PARTLABEL=?*) ;; *) return 1 ;; esac ;;
        word) case $2 in -* | *[!A-Za-z0-9_./:@=+-]*) return 1 ;; esac ;;
        number) case $2 in *[!0-9]* | ??????*) return 1 ;; esac ;;
        mode) case $2 in *[!0-7]* | ?????*) return 1 ;; esac ;;
        owner) case $2 in -* | *[!A-Za-z0-9_.:-]* | *:*:*) return 1 ;; esac ;;
        key)
            case ${2#0x} in '' | *[!0-9a-fA-F]* | ?????????????????*) return 1 ;; esac
            case ${2#0x} in *[!0]*) ;; *) return 1 ;; esac ;;
        guard) case $2 in *[!a-z0-9-]*) return 1 ;; esac ;;
        *'|'*) case "|$1|" in *"|$2|"*) ;; *) return 1 ;; esac ;;
    esac
}

look_at_settings() {
    while read -r key pattern; do
        [ -n "$key" ] || continue
        setting "$key"
        [ "$key" = GUARD ] || is_a "$pattern" "$setting_value" ||
            problem "$key '$setting_value' cannot be: $(wanted "$pattern")"
    done <<END
$SETTINGS
END
    is_a guard "$GUARD" && part_file guard "$GUARD" ||
        problem "GUARD $GUARD is unknown: use scsi-pr, mmp, fence, drbd or none"
    if [ -z "$MOUNT_TABLE" ]; then
        [ -n "$MOUNT_DEVICE" ] && [ -n "$MOUNT_POINT" ] ||
            problem "MOUNT_DEVICE and MOUNT_POINT must be set, by env in the hooks block"
    elif [ -n "$MOUNT_DEVICE$MOUNT_POINT" ]; then
        problem "MOUNT_TABLE stands in place of MOUNT_DEVICE and MOUNT_POINT: set it or them"
    fi
    look_at_owner
    for tool in $TOOLS; do
        has_tool "${tool%%:*}" || problem "${tool%%:*} is missing: install the package ${tool#*:}"
    done
    [ "$action" = check ] || return 0
    for key in $(env | sed -n -E "s/^(($OUR_NAMES)[A-Z_]*)=.*/\1/p"); do
        case $SETTINGS in
            *"$NL$key "*) ;;
            *) advice "$key is no setting of mount.sh: is it misspelt?" ;;
        esac
    done
    [ ! -e "$0.new" ] && [ ! -e "$0.dpkg-dist" ] ||
        advice "$0 was edited, and an upgrade has put a newer one beside it: bring them together"
}

wanted() {
    case $1 in
        path) echo "a path that begins with / is meant" ;;
        device) echo "a path that begins with /, or UUID=, LABEL=, PARTUUID=, PARTLABEL= is meant" ;;
        number) echo "a number of seconds is meant" ;;
        mode) echo "an octal mode such as 755 is meant" ;;
        owner) echo "USER or USER:GROUP is meant" ;;
        key) echo "1 to 16 hexadecimal digits, not all 0, are meant" ;;
        *'|'*) echo "one of $(echo "$1" | tr '|' ' ') is meant" ;;
        *) echo "a plain word is meant" ;;
    esac
}

look_at_owner() {
    is_a owner "$MOUNT_OWNER" || return 0
    user=${MOUNT_OWNER%%:*} group=''
    case $MOUNT_OWNER in *:?*) group=${MOUNT_OWNER#*:} ;; esac
    case $user in *[!0-9]*) id "$user" >/dev/null 2>&1 || problem "MOUNT_OWNER: there is no user $user" ;; esac
    case $group in *[!0-9]*) getent group "$group" >/dev/null || problem "MOUNT_OWNER: there is no group $group" ;; esac
}

# What keeps acquire from beginning: nothing is touched yet.
refuse_what_cannot_work() {
    look_at_settings
    [ "$problems" = 0 ] || exit 1
    read_table
    look_at_points
    call guard "$GUARD" needs
    for layer in $LAYERS; do call layer "${layer%%:*}" needs "${layer#*:}"; done
    [ "$problems" = 0 ] || exit 1
}
