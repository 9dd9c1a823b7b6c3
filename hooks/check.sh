#!/bin/sh
# check.sh: is the service alive? If not, start it once; if that does not help, fail.
#
# Exit 0: well. Anything else: this node should not be master. That is all it takes: the daemon then
# hands over in order. Never stop the daemon or unmount from here. See glha-hooks(7).

# --- settings; an `env` line of the hooks block wins over a value given here ---------------------

: "${CHECK_PROCESS=nginx}"     # name of a process that must run; empty: none
: "${CHECK_SERVICE=nginx}"     # what is started when it does not; empty: nothing
: "${CHECK_URL:=}"             # must answer wherever the process must run: http://127.0.0.1/
: "${CHECK_WHEN:=always}"      # always: on both nodes; master: only where the storage is
# Must answer on the master only, because it needs the storage. GitLab: use 127.0.0.1, it answers
# other addresses with 404: http://127.0.0.1/-/readiness
: "${READY_URL:=}"
# A host that this node must reach, the gateway for example: a master that is cut off while its link
# stays up then gives the storage back by itself.
: "${WITNESS:=}"

# -------------------------------------------------------------------------------------------------

: "${GLHA_PHASE:=}"
: "${GLHA_TIMEOUT_MS:=5000}"

exec </dev/null
say() { echo "$*"; }
fail() { say "$@"; exit 1; }

seconds() { read -r up _ </proc/uptime; echo "${up%%.*}"; }
started=$(seconds)
# One second is kept back, so that a failure is reported and not a timeout.
left() {
    rest=$((GLHA_TIMEOUT_MS / 1000 - 1 - ($(seconds) - started)))
    echo $((rest > 0 ? rest : 0))
}
# Seconds that one request may take: at least 1, at most 2.
patience() { [ "$(left)" -ge 2 ] && echo 2 || echo 1; }
# --foreground keeps the command in our process group: the daemon must be able to end it with us.
bounded() { timeout --foreground -k 1 "$@"; }

# Looks into /proc itself: no other package needed, and unlike `ps -C` it counts neither zombies nor
# the processes of containers.
running() {
    [ -n "$CHECK_PROCESS" ] || return 0
    wanted=$(printf %.15s "$CHECK_PROCESS")     # the kernel knows no more of a name
    for file in /proc/[0-9]*/comm; do
        { read -r comm <"$file"; } 2>/dev/null || continue
        [ "$comm" = "$wanted" ] || continue
        status=${file%comm}status
        grep -s -q '^State:[[:space:]]*Z' "$status" && continue
        grep -s -q '^NSpid:[[:space:]]*[0-9]*$' "$status" && return 0
    done
    return 1
}

answers() {                                     # URL
    [ -n "$1" ] || return 0
    if command -v curl >/dev/null; then
        curl -s -f -o /dev/null --max-time "$(patience)" "$1"
    elif command -v wget >/dev/null; then
        # The first answer counts; wget itself would go on to where a redirection leads.
        LC_ALL=C wget -q -S -O /dev/null -t 1 -T "$(patience)" "$1" 2>&1 |
            grep -q '^ *HTTP/[0-9.]* [23][0-9][0-9]'
    else
        place=${1#http://} host=${place%%/*}
        port=${host##*:}
        [ "$port" = "$host" ] && port=80
        path=${place#"${place%%/*}"}
        # shellcheck disable=SC2016  # bash expands it: POSIX sh has no sockets
        bounded "$(patience)" bash -c 'exec 3<>"/dev/tcp/$0/$1" &&
            printf "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n" "$2" "$0" >&3 &&
            read -r _ status _ <&3 && [[ $status == [23]?? ]]' \
            "${host%:*}" "$port" "${path:-/}" 2>/dev/null
    fi
}

well() { running && answers "$CHECK_URL"; }

service_do() {                                  # start|restart
    say "$CHECK_SERVICE: $1"
    if [ -d /run/systemd/system ]; then
        bounded "$(left)" systemctl "$1" "$CHECK_SERVICE"
    else
        bounded "$(left)" service "$CHECK_SERVICE" "$1"
    fi
}

check_service() {
    well && return
    [ -n "$CHECK_SERVICE" ] || fail "${CHECK_PROCESS:-service} is not running or does not answer"
    if [ "$(left)" -gt 0 ]; then
        if running; then service_do restart; else service_do start; fi
    fi
    # It needs a moment to come up: look again and again, less and less often, and a last time before
    # our own time is up.
    for pause in 0.1 0.2 0.4 0.8 1.6 3.2 6.4; do
        rest=$(left)
        [ "${pause%.*}" -lt "$rest" ] || pause=$rest
        sleep "$pause"
        well && return
        [ "$(left)" -gt 0 ] || break
    done
    running || fail "$CHECK_PROCESS does not run, and $CHECK_SERVICE could not be started"
    fail "$CHECK_PROCESS runs, but $CHECK_URL does not answer"
}

# Twice, since a single lost packet is no cut. Without ping a refused connection is an answer too.
reachable() {
    for _ in 1 2; do
        if command -v ping >/dev/null; then
            ping -c 1 -W 1 "$1" >/dev/null 2>&1 && return
        else
            # shellcheck disable=SC2016
            case $(LC_ALL=C bounded 1 bash -c 'exec 3<>"/dev/tcp/$0/9" && echo open' "$1" 2>&1) in
                *open* | *refused*) return 0 ;;
            esac
        fi
    done
    return 1
}

[ -z "$WITNESS" ] || reachable "$WITNESS" || fail "witness $WITNESS cannot be reached"
[ "$CHECK_WHEN" = master ] && [ "$GLHA_PHASE" != master ] && exit 0
check_service
[ "$GLHA_PHASE" = master ] || exit 0
answers "$READY_URL" || fail "$READY_URL does not answer"
