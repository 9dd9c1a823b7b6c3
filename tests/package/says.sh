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
