#!/bin/bash
# keepalived starts the next one while this one runs: what is not mounted is left alone at once.
LOG=/var/log/states
case $3 in
    "MASTER")
        echo "$(date) master" >>$LOG
        mount /dev/mapper/mpath0-part1 /home/git/gitlab-data
        systemctl start gitlab-runsvdir
        exit 0
        ;;
    *)
        if mountpoint -q /home/git/gitlab-data; then
            systemctl stop gitlab-runsvdir
            umount /home/git/gitlab-data
        fi
        echo "$(date) $3" >>$LOG
        exit 0
        ;;
esac
