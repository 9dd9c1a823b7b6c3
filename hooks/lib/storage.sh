# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# What mount.sh stands on: words, time, the loading of guards and layers, and the start of an action.

: "${GLHA_RELEASED:=0}"          # 1: the other node has proven that it let go
: "${GLHA_HOW:=}"                # released preempting silent cold person
: "${GLHA_LOST:=0}"              # 1: the storage was lost here, and no master was heard since
: "${GLHA_REASON:=}"
: "${GLHA_PHASE:=}"
: "${GLHA_TIMEOUT_MS:=60000}"
: "${GLHA_RUN_DIR:=/run/glha}"

export LC_ALL=C                  # messages of other programs are compared
exec </dev/null                  # the event is not read here, and nobody else shall read it
trap : PIPE                      # what is begun is brought to its end, even if nobody listens any more

DEVICE_SECONDS=5                 # how long acquire waits for a device to appear
MOUNT_CLEAN_SECONDS=15           # a mount that has nothing to wait for
PROOF_SECONDS=5                  # how long release waits for a device to become free
WATCH_SECONDS=0.2                # between two looks
TAB=$(printf '\t')
table=''
# Newline: what separates the entries of a list, since paths may have blanks.
NL='
'

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

comm_of() { cat "/proc/$1/comm" 2>/dev/null || echo gone; }
has_tool() { command -v "$1" >/dev/null; }
# Is it one of the words? Nothing is none of them.
in_words() { case $1 in '') return 1 ;; esac; case " $2 " in *" $1 "*) ;; *) return 1 ;; esac; }
field() { printf '%s\n' "$1" | sed -n "s/^ *$2: *//p" | head -n 1; }

# --- guards, layers, file systems: one file each, with the functions NAME_needs, NAME_take,
# NAME_proven, NAME_give_up. One's own stand beside mount.sh, where upgrades leave them alone. --------

part_file() {                                   # guard|layer|fs NAME
    case $2 in *[!a-z0-9-]* | '') return 1 ;; esac
    for part in "$here/$1-$2.sh" "$lib/$1-$2.sh"; do
        [ -r "$part" ] && return
    done
    return 1
}

# Calls a function of a part: call guard scsi-pr take DEVICE...
call() {
    part_file "$1" "$2" || fail "there is no $1 $2"
    call_name=$(echo "$2" | tr - _)_$3
    shift 3
    "$call_name" "$@"
}

load_parts() {
    for kind_of_part in fs guard layer; do
        for file in "$lib/$kind_of_part"-*.sh "$here/$kind_of_part"-*.sh; do
            # shellcheck source=/dev/null
            [ ! -r "$file" ] || . "$file"
        done
    done
}

# Which file of fs-*.sh is about a type of file system.
family() {
    case $1 in
        ext2 | ext3 | ext4) echo ext ;;
        *) if part_file fs "$1"; then echo "$1"; else echo plain; fi ;;
    esac
}

run() {                                         # ACTION NAME
    action=${1:-} name=${2:-}
    case $action in
        probe) failed=3 ;;                      # 1 would say: not held
        acquire | release | check) ;;
        *) echo "usage: $0 acquire|release|probe|check NAME" >&2; exit 64 ;;
    esac
    [ "$(id -u)" = 0 ] || fail "only root can mount: give the hooks block no other script_user"
    "$action"
    [ "$action" != check ] || exit "$problems"
}

for file in settings table devices record mounts free acquire health services; do
    # shellcheck source=/dev/null
    . "$lib/$file.sh"
done
load_parts
