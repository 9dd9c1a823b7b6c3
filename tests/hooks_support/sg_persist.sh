# shellcheck shell=sh
# Stands in for sg_persist: an array whose reservations live in the file $PR_STATE, one per line:
#   reg NEXUS KEY      res NEXUS KEY TYPE      ua NEXUS
# NEXUS is the session that asks. PR_REFUSES: actions that the array does not do.
# An array does one command after the other.
exec 9>"$PR_STATE.lock"
flock 9
action='' rk='' sark='' type=''
for word in "$@"; do
    case $word in
        --in | --out) ;;
        --param-rk=*) rk=${word#*=} ;;
        --param-sark=*) sark=${word#*=} ;;
        --prout-type=*) type=${word#*=} ;;
        --*) action=${word#--} ;;
    esac
done
rk=${rk#0x} sark=${sark#0x}
for disk in "$@"; do :; done
echo "$action $rk $sark $disk" >>"$PR_STATE.log"
touch "$PR_STATE"
drop() { sed -i "$1" "$PR_STATE"; }
conflict() { echo "PR: Reservation conflict" >&2; exit 24; }
registered() { grep -q "^reg $NEXUS $rk\$" "$PR_STATE" || conflict; }
if grep -q "^ua $NEXUS\$" "$PR_STATE"; then
    drop "/^ua $NEXUS\$/d"
    echo "Unit Attention: Registrations preempted" >&2
    exit 6
fi
case " $PR_REFUSES " in *" $action "*) echo "PR: Illegal request" >&2; exit 5 ;; esac
case $action in
    read-keys)
        echo "  PR generation=0x2, registered reservation keys follow:"
        sed -n 's/^reg [^ ]* /    0x/p' "$PR_STATE" ;;
    read-reservation)
        if grep -q '^res' "$PR_STATE"; then
            echo "  PR generation=0x2, Reservation follows:"
            sed -n 's/^res [^ ]* \([^ ]*\) .*/    Key=0x\1/p' "$PR_STATE"
            echo "    scope: LU_SCOPE,  type: Write Exclusive, registrants only"
        else
            echo "  PR generation=0x2, there is NO reservation held"
        fi ;;
    register-ignore | register)
        [ "$action" = register ] && registered
        drop "/^reg $NEXUS /d"
        [ "$sark" = 0 ] || echo "reg $NEXUS $sark" >>"$PR_STATE" ;;
    reserve)
        registered
        if grep '^res' "$PR_STATE" | grep -v -q "^res $NEXUS "; then conflict; fi
        drop '/^res/d'
        echo "res $NEXUS $rk $type" >>"$PR_STATE" ;;
    release)
        registered
        drop "/^res $NEXUS /d" ;;
    preempt | preempt-abort)
        registered
        sed -n "s/^reg \([^ ]*\) $sark\$/ua \1/p" "$PR_STATE" | grep -v " $NEXUS\$" >>"$PR_STATE.ua"
        drop "/^reg [^ ]* $sark\$/d"
        if grep -q "^res [^ ]* $sark " "$PR_STATE"; then
            drop '/^res/d'
            echo "res $NEXUS $rk $type" >>"$PR_STATE"
        fi
        grep -q "^reg $NEXUS $rk\$" "$PR_STATE" || echo "reg $NEXUS $rk" >>"$PR_STATE"
        cat "$PR_STATE.ua" >>"$PR_STATE"
        rm -f "$PR_STATE.ua" ;;
    *) echo "sg_persist: $action?" >&2; exit 1 ;;
esac
