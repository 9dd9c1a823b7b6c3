# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# Guard drbd (8.4 and 9): promotion of a resource. It is a proof only where DRBD itself knows about the
# other node: connected and Secondary, or fenced by DRBD's own handler, or outvoted by a quorum. Never
# --force, and nothing here discards data.

drbd_needs() {
    for tool in drbdadm drbdsetup; do
        has_tool $tool || { problem "$tool is missing: install drbd-utils"; return; }
    done
    [ -n "$DRBD_RESOURCE" ] || { problem "GUARD is drbd, but DRBD_RESOURCE is empty"; return; }
    [ "$action" = check ] || return 0
    drbd_conf=$(bounded 5 drbdadm dump "$DRBD_RESOURCE" 2>/dev/null) ||
        problem "drbdadm dump $DRBD_RESOURCE fails: there is no such resource in /etc/drbd.d, or not for this host"
    case $drbd_conf in *allow-two-primaries\;* | *'allow-two-primaries yes'*)
        problem "DRBD_RESOURCE $DRBD_RESOURCE has allow-two-primaries: with it promotion proves nothing" ;;
    esac
}

# Sets drbd_role, drbd_disk, drbd_peers: a line "CONNECTION ROLE DISK" for each peer, and the rest of
# what `drbdsetup status --verbose` says in words.
drbd_read() {
    drbd_status=$(bounded 5 drbdsetup status "$DRBD_RESOURCE" --verbose 2>&1) || {
        say "drbdsetup status $DRBD_RESOURCE: $drbd_status"
        return 1
    }
    drbd_role=$(drbd_first ' role')
    drbd_disk=$(printf '%s\n' "$drbd_status" | sed -n 's/.* disk:\([A-Za-z]*\).*/\1/p' | sort -u | paste -s -d ' ')
    # A peer's block is indented by two and says its connection or its role; its volumes by four.
    drbd_peers=$(printf '%s\n' "$drbd_status" | awk '
        function word(name,   place, text) {
            place = index(" " $0, " " name ":")
            if (!place) return ""
            text = substr(" " $0, place + length(name) + 2)
            sub(/ .*/, "", text)
            return text
        }
        function out() { if (is_peer) print (link == "" ? "Connected" : link), role, disk == "" ? "-" : disk }
        NR > 1 && /^  [^ ]/ {
            if (word("disk") != "" || $1 ~ /^volume:/) next
            out()
            is_peer = 1; link = word("connection"); role = word("role"); disk = word("peer-disk")
            if (role == "") role = "Unknown"
        }
        NR > 1 && /^    / && word("peer-disk") != "" { disk = word("peer-disk") }
        END { out() }')
}
drbd_first() { printf '%s\n' "$drbd_status" | sed -n "s/.*$1:\([A-Za-z]*\).*/\1/p" | head -n 1; }

drbd_take() {
    drbd_read || { drbdadm up "$DRBD_RESOURCE" && drbd_read; } || fail "DRBD $DRBD_RESOURCE cannot be brought up"
    if [ "$drbd_role" != Primary ]; then
        case $drbd_disk in
            UpToDate) ;;
            *) fail "DRBD $DRBD_RESOURCE: the local disk is $drbd_disk, not UpToDate: not promoting" ;;
        esac
        drbd_proof
        bounded "$(left)" drbdadm primary "$DRBD_RESOURCE" ||
            fail "drbdadm primary $DRBD_RESOURCE failed (status $?): not mounting"
    fi
    drbd_read && [ "$drbd_role" = Primary ] || fail "DRBD $DRBD_RESOURCE is not Primary: not mounting"
    case $drbd_peers in *' Primary '*) fail "DRBD $DRBD_RESOURCE: the other node is Primary too" ;; esac
}

# Returns only if promotion will be a proof, or somebody takes the risk.
drbd_proof() {
    drbd_conf=$(bounded 5 drbdadm dump "$DRBD_RESOURCE" 2>/dev/null)
    unknown=''
    while read -r link role disk; do
        case $link,$role,$disk in
            ,*) ;;
            Connected,Primary,*) later "DRBD $DRBD_RESOURCE: the other node is connected and Primary" ;;
            Connected,Secondary,*) ;;
            StandAlone,*) unknown="the connection is StandAlone, perhaps after a split brain" ;;
            *) unknown="the other node is not connected ($link)"
               [ "$disk" != Outdated ] || unknown='' ;;
        esac
    done <<END
$drbd_peers
END
    [ -n "$unknown" ] || return 0
    # DRBD then promotes only after its handler has confirmed the fence.
    case $drbd_conf in *'fencing '*resource-and-stonith*) return ;; esac
    case $drbd_conf,$(drbd_first quorum) in
        *'quorum '*[1-9]*,yes | *'quorum '*majority*,yes | *'quorum '*all*,yes) return ;;
    esac
    say "DRBD $DRBD_RESOURCE: $unknown, and neither its fencing nor a quorum says what it does"
    is_proven_or_accepted || fail "no proof that the other node has let go of $DRBD_RESOURCE: not promoting." \
        "Make sure by hand that it is Primary nowhere else, then say so: glha released $name"
}

drbd_is_split() {
    case "$NL$drbd_peers" in
        *"$NL"StandAlone*) why='the connection is StandAlone: split brain? See dmesg, and drbdadm connect' ;;
        *" Primary "*) why='the other node is Primary too' ;;
        *) return 1 ;;
    esac
}

drbd_proven() {
    drbd_read || return 3
    [ "$drbd_role" = Primary ] || { say "DRBD $DRBD_RESOURCE is $drbd_role here, not Primary"; return 3; }
    case $drbd_disk in
        UpToDate) ;;
        *) say "DRBD $DRBD_RESOURCE: the local disk is $drbd_disk"; return 3 ;;
    esac
    case $(drbd_first suspended) in
        '' | no) ;;
        *) say "DRBD $DRBD_RESOURCE: I/O is suspended ($(drbd_first suspended))"; return 3 ;;
    esac
    ! drbd_is_split || { say "DRBD $DRBD_RESOURCE: $why"; return 3; }
    case "$NL$drbd_peers" in *"$NL"Connected\ Secondary*) return 0 ;; esac
    case $(drbd_first quorum),$(bounded 5 drbdadm dump "$DRBD_RESOURCE" 2>/dev/null) in
        yes,*'quorum '*majority*) return 0 ;;
    esac
    return 2
}

# Demotion fails as long as anybody has the device open, so it is a proof of release besides.
drbd_give_up() {
    drbd_read || return 0                       # not even up
    [ "$drbd_role" = Primary ] || return 0
    bounded 15 drbdadm secondary "$DRBD_RESOURCE" ||
        fail "drbdadm secondary $DRBD_RESOURCE failed (status $?): it is still Primary here"
}
