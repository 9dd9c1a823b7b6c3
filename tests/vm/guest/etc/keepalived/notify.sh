#!/bin/bash
LOG=/var/log/states
case $3 in
    "MASTER")
        echo "$(date) master" >>$LOG
        mount /dev/mapper/mpath0-part1 /home/git/gitlab-data
        systemctl start gitlab-runsvdir
        exit 0
        ;;
    *)
        echo "$(date) $3" >>$LOG
        systemctl stop gitlab-runsvdir
        umount /home/git/gitlab-data
        exit 0
        ;;
esac
