#!/bin/sh
# What tracking a process costs while the host forks all the time, and how soon its end is acted
# upon: glha beside keepalived.
#
#     tests/bench/process.sh [GLHA [KEEPALIVED]]
#
# Needs root and the machine's own network namespace: elsewhere the kernel tells keepalived of no
# process. Each daemon has a network namespace made for this; keepalived is told to enter it
# (net_namespace), glha is started in it. CPU time is that of the daemon's processes
# (/proc/PID/schedstat), the reaction the time from the kill to the first instruction of
# notify_fault that reads the clock; it holds the start of sh and date.
set -eu

GLHA=${1:-target/glha}
KEEPALIVED=${2:-/usr/sbin/keepalived}
SECONDS_EACH=5
FORKS_PER_SECOND=2000
KILLS=5

folder=$(mktemp -d)
space=glha-bench-$$
daemon='' target='' storm=''
end() {
    for pid in $storm $target $daemon; do kill -9 "$pid" 2>/dev/null || :; done
    ip netns del "$space" 2>/dev/null || :
    rm -rf "$folder"
}
trap end EXIT
trap 'exit 1' INT TERM

# A name of its own, and not that of any other process; at most 15 bytes.
name=track$$
cp /bin/sleep "$folder/$name"

ip netns add "$space"
ip -n "$space" link add name bench0 type veth peer name bench1
for link in lo bench0 bench1; do ip -n "$space" link set "$link" up; done
ip -n "$space" addr add 192.0.2.1/24 dev bench0

printf '#!/bin/sh\ndate +%%s%%N >%s/told\n' "$folder" >"$folder/notify"
chmod 755 "$folder/notify"

conf() { # what stands before everything
    cat <<END
$1
global_defs {
    script_user root
}
vrrp_track_process bench {
    process $name
}
vrrp_instance BENCH {
    version 3
    interface bench0
    virtual_router_id 1
    priority 100
    advert_int 0.1
    track_process {
        bench
    }
    virtual_ipaddress {
        192.0.2.100
    }
    notify_fault $folder/notify
}
END
}

# The daemon and its children.
members() { echo "$daemon $(cat "/proc/$daemon/task/$daemon/children" 2>/dev/null)"; }
cpu() {
    sum=0
    for pid in $(members); do
        read -r on_cpu _ <"/proc/$pid/schedstat"
        sum=$((sum + on_cpu))
    done
    echo "$sum"
}
forks() { sed -n 's/^processes //p' /proc/stat; }
now() { date +%s%N; }
wait_for() { # a command
    tries=0
    until "$@" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || { echo "in vain waited for: $*" >&2; tail -20 "$folder/log" >&2; exit 1; }
        sleep 0.05
    done
}
is_master() { ip -n "$space" addr show dev bench0 | grep -q 192.0.2.100; }
is_not_master() { ! is_master; }
start_target() { "$folder/$name" 1000000 & target=$!; }

# Forks without exec, in pieces of a hundredth of a second.
forker() {
    begun=$(now) done=0
    while :; do
        n=0
        while [ $n -lt $((FORKS_PER_SECOND / 100)) ]; do (:) & n=$((n + 1)); done
        wait
        done=$((done + 1))
        ahead=$((begun / 1000000 + done * 10 - $(now) / 1000000))
        [ $ahead -le 0 ] || sleep "$(printf 0.%03d $ahead)"
    done
}

measure() { # name, prefix of the configuration, command
    label=$1 prefix=$2
    shift 2
    conf "$prefix" >"$folder/conf"
    start_target
    "$@" -n -l -P -f "$folder/conf" -p "$folder/pid" -r "$folder/vrrp.pid" >"$folder/log" 2>&1 &
    daemon=$!
    wait_for is_master
    sleep 6
    for load in idle storm; do
        if [ $load = storm ]; then forker & storm=$!; sleep 1; fi
        cpu_before=$(cpu) forks_before=$(forks) before=$(now)
        sleep "$SECONDS_EACH"
        cpu_after=$(cpu) forks_after=$(forks) after=$(now)
        span=$((after - before))
        : >"$folder/reactions"
        i=0
        while [ $i -lt "$KILLS" ]; do
            rm -f "$folder/told"
            killed=$(now)
            kill -9 "$target"
            wait_for test -s "$folder/told"
            echo $((($(cat "$folder/told") - killed) / 10000)) >>"$folder/reactions"
            wait_for is_not_master
            start_target
            wait_for is_master
            sleep 0.3
            i=$((i + 1))
        done
        # Hundredths of a millisecond, sorted.
        reactions=$(sort -n "$folder/reactions" | awk '{ printf "%s%.1f", s, $1 / 100; s = " " }')
        rate=$(((forks_after - forks_before) * 1000000000 / span))
        busy=$(((cpu_after - cpu_before) * 1000 / (span / 1000)))
        printf '%-11s %-6s %8s %12s   %s\n' "$label" "$load" "$rate" \
            "$((busy / 1000)).$(printf %03d $((busy % 1000)))" "$reactions"
    done
    kill "$storm"; wait "$storm" 2>/dev/null || :; storm=''
    kill -9 "$target"; wait "$target" 2>/dev/null || :; target=''
    kill "$daemon"; wait "$daemon" 2>/dev/null || :; daemon=''
}

printf '%-11s %-6s %8s %12s   %s\n' daemon host forks/s 'CPU ms/s' 'kill to notify, ms, sorted'
measure keepalived "net_namespace $space" "$KEEPALIVED"
measure glha '' ip netns exec "$space" "$GLHA"
