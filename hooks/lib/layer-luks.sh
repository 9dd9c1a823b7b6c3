# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# Layer luks:NAME=DEVICE: an encrypted device, open as /dev/mapper/NAME only where it is mounted.

luks_needs() {
    has_tool cryptsetup || problem "cryptsetup is missing: install cryptsetup-bin"
    case $1 in ?*=/*) ;; *) problem "LAYERS: luks:$1 cannot be: luks:NAME=DEVICE is meant" ;; esac
    [ -n "$LUKS_KEY" ] || { problem "layer luks needs LUKS_KEY, a key file: nobody is there to type"; return; }
    [ -r "$LUKS_KEY" ] || { problem "LUKS_KEY $LUKS_KEY cannot be read"; return; }
    case $(stat -L -c %a "$LUKS_KEY") in *00) ;; *) problem "LUKS_KEY $LUKS_KEY can be read by others: chmod 600" ;; esac
    [ "$action" = check ] || return 0
    ! grep -s -q "^${1%%=*}[[:space:]]" /etc/crypttab || grep -s "^${1%%=*}[[:space:]]" /etc/crypttab | grep -q noauto ||
        problem "crypttab(5) opens ${1%%=*} at boot: add noauto there"
}

luks_below() { echo "${1#*=}"; }

luks_take() {
    [ ! -b "/dev/mapper/${1%%=*}" ] || return 0
    bounded "$(left)" cryptsetup open --type luks --key-file "$LUKS_KEY" "${1#*=}" "${1%%=*}" ||
        fail "${1#*=} could not be opened as ${1%%=*} (status $?)"
}

luks_proven() { [ -b "/dev/mapper/${1%%=*}" ]; }

luks_give_up() {
    [ -b "/dev/mapper/${1%%=*}" ] || return 0
    bounded 10 cryptsetup close "${1%%=*}" || fail "${1%%=*} could not be closed: look at lsblk /dev/mapper/${1%%=*}"
}
