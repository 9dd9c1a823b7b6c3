# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# The units of SERVICES: services, targets, timers, instances of templates.

systemd_runs() { [ -d /run/systemd/system ]; }

service_do() {                                  # SECONDS start|stop NAME
    if systemd_runs; then
        bounded "$1" systemctl "$2" "$3"
    else
        bounded "$1" service "$3" "$2"
    fi
}

start_services() {
    for service in $SERVICES; do
        service_do "${START_SECONDS:-$(left)}" start "$service" || {
            status=$?
            last_words "$service"
            fail "$service could not be started (status $status)"
        }
    done
}

# Units are stopped, not processes killed: systemd would start those again.
stop_services() {
    last_first=''
    for service in $SERVICES; do last_first="$service $last_first"; done
    for service in $last_first; do
        service_do "${STOP_SECONDS:-$(($(left) / 2))}" stop "$service" && continue
        say "$service could not be stopped (status $?)"
        last_words "$service"
        # What it still runs is ended, by systemd itself, which would start it again otherwise.
        ! systemd_runs || bounded 3 systemctl kill --signal=KILL "$service"
    done
}

last_words() {
    systemd_runs && has_tool journalctl || return 0
    bounded 3 journalctl -q --no-pager -o cat -n 5 -u "$1" |
        while read -r line; do say "$1: $line"; done
}

# Enabled units are started at boot on both nodes, by systemd, without the storage.
look_at_services() {
    if in_words "${CHECK_SERVICE:-}" "$SERVICES" && [ "${CHECK_WHEN:-always}" != master ]; then
        advice "CHECK_SERVICE $CHECK_SERVICE is in SERVICES, and check.sh would start it on both nodes:" \
            "set CHECK_WHEN to master"
    fi
    systemd_runs && has_tool systemctl || return 0
    for service in $SERVICES; do
        state=$(bounded 3 systemctl is-enabled "$service" 2>/dev/null)
        case $state in
            enabled | enabled-runtime)
                advice "SERVICES: $service is enabled, so systemd starts it at boot on either node:" \
                    "systemctl disable $service" ;;
            '' | not-found) bounded 3 systemctl cat "$service" >/dev/null 2>&1 ||
                advice "SERVICES: there is no unit $service" ;;
            masked*) advice "SERVICES: $service is masked, so it cannot be started" ;;
        esac
    done
}
