#!/bin/bash
KIND=$1
INSTANCE=$2
STATE=$3
LOG=/var/log/keepalived/states_$(date +%Y_%m)
case $STATE in
        "MASTER")
                echo $(date +"%F %T") "the other one is gone, taking over" >>$LOG
                mount /dev/mapper/mpatha-part1 /srv/git-data
                exit 0
                ;;
        "BACKUP")
                echo $(date +"%F %T") "the other one is back, giving way" >>$LOG
                umount /srv/git-data
                exit 0
                ;;
        *)
                echo 'what state is this?'
                exit 1
                ;;
esac
