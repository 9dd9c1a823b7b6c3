# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# Layer lvm:VG: a volume group that is active only where it is mounted.
#
# What a layer has; each function is called with what stands behind the colon in LAYERS:
#   NAME_needs    tells, by `problem`, what is missing here; changes nothing
#   NAME_below    prints the devices that it lies on, one a line, also while it is closed
#   NAME_take     opens it; ends with `fail` if it cannot
#   NAME_proven   0: it is open and whole
#   NAME_give_up  closes it; ends with `fail` if it stays open

lvm_needs() {
    for tool in vgchange vgs pvs; do
        has_tool $tool || { problem "$tool is missing: install lvm2"; return; }
    done
    [ "$action" = check ] || return 0
    bounded 5 vgs "$1" >/dev/null 2>&1 || { problem "there is no volume group $1 here"; return; }
    # The host that boots would activate it by itself, mounted elsewhere or not.
    lvm_says "$1" systemid | grep -q . && return
    # LVM before 2.03.12 does not know the field, and activates.
    bounded 5 vgs -o autoactivation "$1" >/dev/null 2>&1 &&
        [ "$(lvm_says "$1" autoactivation)" != enabled ] && return
    lvm_config=$(lvmconfig activation/auto_activation_volume_list 2>/dev/null)
    case $lvm_config in '' | *\""$1"\"*)
        problem "every host that boots activates volume group $1: vgchange --setautoactivation n $1 (LVM before 2.03.12: auto_activation_volume_list in lvm.conf)" ;;
    esac
}
lvm_says() { bounded 5 vgs --noheadings -o "$2" "$1" 2>/dev/null | tr -d ' '; }

lvm_below() { bounded 5 pvs --noheadings -o pv_name -S "vg_name=$1" 2>/dev/null | tr -d ' '; }

lvm_take() {
    lvm_owner=$(lvm_says "$1" systemid)
    lvm_self=$(bounded 5 lvm systemid 2>/dev/null | sed 's/.*: *//')
    if [ -n "$lvm_owner" ] && [ "$lvm_owner" != "$lvm_self" ]; then
        # The metadata are written only where the guard has proven already that nobody else does.
        [ "$fences" = yes ] || [ "$GLHA_RELEASED" = 1 ] || [ "$GUARD" = drbd ] ||
            fail "volume group $1 belongs to host $lvm_owner, and guard $GUARD proves nothing before the mount"
        vgchange --yes --config "local/extra_system_ids=[\"$lvm_owner\"]" --systemid "$lvm_self" "$1" ||
            fail "volume group $1 could not be taken over from host $lvm_owner"
    fi
    bounded "$(left)" vgchange -a y "$1" || fail "volume group $1 could not be activated (status $?)"
}

lvm_proven() {
    case $(lvm_says "$1" vg_attr) in
        ???p*) say "volume group $1 misses a physical volume"; return 3 ;;
    esac
    bounded 5 lvs --noheadings -o lv_active "$1" 2>/dev/null | grep -q active
}

lvm_give_up() {
    bounded 5 vgs "$1" >/dev/null 2>&1 || return 0      # not even there
    bounded 20 vgchange -a n "$1" || fail "volume group $1 could not be deactivated: look at lsblk, dmsetup info -c"
}
