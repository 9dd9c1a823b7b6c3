#!/bin/sh
. /etc/keepalived/site
[ -f /etc/ha.disabled ] && exit 0
if ! mountpoint -q /srv/data; then
    mount /dev/mapper/mmp /srv/data
fi
if [ "$(hostname)" = "one" ]; then
    systemctl start reports
fi
systemctl start web
