# shellcheck shell=sh
# What the scripts of this folder say and ask.

die() {
    echo "FAILED: $*" >&2
    exit 1
}

# expect TEXT COMMAND...: the command succeeds and prints the text somewhere.
expect() {
    text=$1
    shift
    out=$("$@" 2>&1) || die "$* failed: $out"
    case $out in
    *"$text"*) ;;
    *) die "$* did not say '$text' but: $out" ;;
    esac
}

# fails STATUS COMMAND...: the command ends with exactly this status.
fails() {
    wanted=$1
    shift
    set +e
    out=$("$@" 2>&1)
    status=$?
    set -e
    [ "$status" -eq "$wanted" ] || die "$* ended with $status instead of $wanted: $out"
}

# await SECONDS COMMAND...: until it succeeds.
await() {
    tries=$(($1 * 20))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || die "waited in vain for: $*"
        sleep 0.05
    done
}

has_address() {
    ip -o address show dev eth0 | grep -q " $1/"
}

# A configuration without scripts: one instance, alone, master after a second or so.
small_configuration() {
    cat <<'END'
vrrp_instance VI_1 {
    version 3
    interface eth0
    virtual_router_id 51
    priority 200
    advert_int 0.2
    virtual_ipaddress {
        10.99.0.51/24
    }
}
END
}

# The same with a storage that is always there.
gated_configuration() {
    small_configuration
    cat <<'END'
hooks VI_1 {
    mount /bin/true
}
END
}

# upgraded START...: the daemon `pid` of the version before is replaced as the package says, and started by
# START. It goes on as master, and the address was there all the time.
upgraded() {
    kill -KILL "$pid"
    await 10 dead "$pid"
    has_address 10.99.0.51 || die 'the address went with the process'
    "$@" >/dev/null
    await 10 has_resumed
    [ "$(cat /run/keepalived.pid)" != "$pid" ] || die 'no other daemon was started'
    pid=$(cat /run/keepalived.pid)
    has_address 10.99.0.51 || die 'the new daemon took the address away'
    ! glha status | grep 'a restart is due' || die 'a restart is due after the restart'
}

dead() {
    ! kill -0 "$1" 2>/dev/null
}

has_resumed() {
    glha status | grep -q 'why *resume:'
}
