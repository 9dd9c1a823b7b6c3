#!/bin/bash
# Starts nginx again; where that does not help, the other node is to have it.
if ! pidof nginx >/dev/null; then
    systemctl start nginx
    if ! pidof nginx >/dev/null; then
        service keepalived stop
        umount /home/git/gitlab-data
        exit 1
    fi
fi
