# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# Is what was acquired still there, writable, and ours alone?

# Not held: nothing of it is mounted in any mount namespace of this host, and no mount point carries
# anything. Whatever lies between that and all in its place is unhealthy.
is_held() {
    find_anonymous
    wrong=$(each_point misplaced)
    if [ -n "$(mounted_anywhere)" ]; then
        [ -n "$wrong" ] || return 0
        name_holders
        fail "$wrong"
    fi
    wrong=$(foreign_points)
    [ -z "$wrong" ] || fail "$wrong"
    # A dead number may still be mounted, and a record says that there is something to clean up.
    for layer in $held_layers; do
        ! call layer "${layer%%:*}" proven "${layer#*:}" >/dev/null || [ -z "$is_recorded" ] ||
            fail "nothing is mounted, but $layer is still open"
    done
    return 1
}

# Calls a function for each point that is held, with number and point set.
each_point() {
    while read -r number point; do
        [ -z "$point" ] || "$1"
    done <<END
$held_points
END
}
misplaced() {
    look "$point"
    case $number in
        -) [ -n "$on_number" ] || say "nothing is mounted on $point" ;;
        gone) ;;                                # it may fail, and did
        *) in_words "$on_number" "$held_numbers" || say "$(device_of "$number") is mounted, but not on $point" ;;
    esac
}

# Each mount of the table is in its place; what may fail, and did, is left out.
everything_is_there() { [ -n "$(each_point placed)" ] && [ -z "$(each_point misplaced)" ]; }
placed() { case $number in *:*) echo "$point" ;; esac; }

look_healthy() {
    each_point healthy_point
    for layer in $held_layers; do call layer "${layer%%:*}" proven "${layer#*:}" || exit 3; done
}
healthy_point() { case $number in *:*) healthy "$point" || exit "$failed" ;; esac; }

# Read-write, and a block that is synced comes back from the disk. Without the sync a disk that no
# longer takes our writes (a fence, dead paths) looks healthy; a read without O_DIRECT asks only the
# page cache. Whoever may write there may put links, pipes and folders in our way: the file is a new
# one each time, and never followed. What its users do there says nothing about the disk.
healthy() {                                     # POINT
    look "$1"
    case ,$on_options, in
        *,ro,* | *,emergency_ro,* | *,shutdown,*)
            say "$1 is mounted, but not for writing ($on_options)"
            return 1 ;;
    esac
    word="glha $(uname -n) $$ $(date +%s)"
    for try in 1 2 3 4 5; do
        file=$1/.glha-probe.$$.$try
        if ! error=$(echo "$word" | dd "of=$file" bs=4096 conv=sync,fsync,excl oflag=nofollow 2>&1); then
            error=$(printf '%s\n' "$error" | sed -n 's/^[^ ]*dd: //p' | head -n 1)
            case $error in
                *'File exists'* | *'symbolic links'*) continue ;;
                *'No space left'* | *'quota exceeded'*)
                    rm -f "$file"
                    say "$1 is full: $error"
                    return 0 ;;
            esac
            rm -f "$file" 2>/dev/null
            say "$1 does not take a write: $error"
            return 1
        fi
        back=$(dd "if=$file" bs=4096 count=1 iflag=direct,nofollow,nonblock 2>/dev/null | tr -d '\000')
        ours=$(stat -c '%u %F' "$file" 2>/dev/null)
        rm -f "$file"
        [ "$back" != "$word" ] || return 0
        [ "$ours" != '0 regular file' ] || {
            say "$1 does not give back what was written to $file"
            return 1
        }
    done
    say "$1: somebody replaces .glha-probe files there; it takes writes"
}

# Asked after the daemon was away or asleep, when the answer may have changed.
look_exclusive() {
    case $GLHA_PHASE,$GLHA_REASON in
        # Another master was heard. If we stood still with all our clocks, it may have the disk.
        master,conflict) looks=0 ;;
        master,*) return ;;                     # a routine look; why it is master does not matter
        *,resume) looks=4 ;;
        # Asleep: another node may have begun to write meanwhile. Its name must show up within its
        # interval, so watch for longer than ours.
        *,lapse) looks=0 ;;
        *) return ;;
    esac
    ours_alone "$looks" || exit
}

# 0 proven, 2 that nothing can prove it, 3 that it is not so. LOOKS: at blocks that others may write;
# 0 for longer than an interval. What a guard cannot prove, every file system of the table may.
ours_alone() {                                  # LOOKS
    call guard "$GUARD" proven "$1"
    answer=$?
    [ "$answer" = 2 ] || return "$answer"
    answer=0
    while read -r number path; do
        [ -n "$path" ] && [ "$number" != gone ] || continue
        path=$(node_of "$number" "$path")       # links may have moved
        type=$(blkid -p -o value -s TYPE "$path" 2>/dev/null)
        call fs "$(family "$type")" proven "$path" "$1"
        verdict=$?
        [ "$verdict" != 3 ] || return 3
        [ "$verdict" = 0 ] || {
            say "guard $GUARD cannot prove that $path is used by this node alone"
            answer=2
        }
    done <<END
$held_devices
END
    return "$answer"
}
