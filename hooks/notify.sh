#!/bin/sh
# notify.sh: tells about a change that has happened; whatever you want to run on it goes in here.
#
#   notify.sh INSTANCE|GROUP NAME MASTER|BACKUP|FAULT|STOP PRIORITY
#
# MASTER comes when storage and addresses are here, the others when they are gone. Mounting is not
# done here: mount.sh has done it, before the address moved. It is also called when the state is as
# before, but another node claims what this one has: with the reason `conflict`. See glha-hooks(7).

# --- settings; an `env` line of the hooks block wins over a value given here ---------------------

: "${LOG_DIR=/var/log/keepalived}"      # a file per month: keepalived_2026_11; empty: none
: "${MAIL:=yes}"                        # no: no mail, though smtp_alert of the configuration asks

# Your own commands. GLHA_REASON and GLHA_DETAIL say why it happened.
on_master() { :; }
on_backup() { :; }
on_fault() { :; }
on_stop() { :; }
on_conflict() { :; }    # no change: this node is master, and another one acts as if it were, too

# -------------------------------------------------------------------------------------------------

type=$1 name=$2 state=$3
: "${GLHA_PREVIOUS:=}" "${GLHA_REASON:=}" "${GLHA_DETAIL:=}" "${GLHA_NODE:=$(uname -n)}"
: "${GLHA_MAIL_TO:=}" "${GLHA_MAIL_FROM:=root}"

exec </dev/null
why="${GLHA_PREVIOUS:+ from $GLHA_PREVIOUS}${GLHA_REASON:+ ($GLHA_REASON: $GLHA_DETAIL)}"

write_log() {
    [ -n "$LOG_DIR" ] || return 0
    mkdir -p "$LOG_DIR" &&
        printf '%s\n' "$(date '+%Y-%m-%d %H:%M:%S') $type $name $state$why" \
            >>"$LOG_DIR/keepalived_$(date +%Y_%m)"
}

# Neither mailer may hold up what follows: the local queue takes it, or it is lost.
send_mail() {
    [ "$MAIL" = yes ] && [ -n "$GLHA_MAIL_TO" ] || return 0
    subject="[$GLHA_NODE] $name is $state"
    [ "$GLHA_REASON" != conflict ] || subject="$subject, with a conflict"
    text="$type $name on $GLHA_NODE is $state$why"
    if command -v sendmail >/dev/null; then
        printf 'From: %s\nTo: %s\nSubject: %s\n\n%s\n' "$GLHA_MAIL_FROM" \
            "$(echo "$GLHA_MAIL_TO" | tr -s ' ' ',')" "$subject" "$text" |
            timeout --foreground -k 1 10 sendmail -t -oi
    elif command -v mail >/dev/null; then
        # shellcheck disable=SC2086  # several addresses
        printf '%s\n' "$text" | timeout --foreground -k 1 10 mail -s "$subject" $GLHA_MAIL_TO
    else
        echo "neither sendmail nor mail is installed"
        false
    fi || echo "no mail sent"
}

write_log || echo "cannot write to $LOG_DIR"
send_mail
# Nothing has changed, so nothing that belongs to a change is done again.
if [ "$GLHA_REASON" = conflict ]; then
    on_conflict
    exit
fi
case $state in
    MASTER) on_master ;;
    BACKUP) on_backup ;;
    FAULT) on_fault ;;
    STOP | DELETED) on_stop ;;      # DELETED: a reload took it out, and notify_deleted is set
    *) echo "unknown state $state"; exit 1 ;;
esac
