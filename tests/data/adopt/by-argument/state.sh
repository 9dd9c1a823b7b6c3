#!/bin/bash
MNT=/var/lib/pgsql
case "$1" in
    master)
        fuser -km $MNT
        fsck.ext4 -y $2
        mount $2 $MNT; systemctl start postgresql; echo up
        ;;
    backup|fault|stop)
        systemctl stop postgresql
        umount -fl $MNT
        ;;
    *) echo "usage: $(basename $0) master|backup|fault|stop"; exit 1 ;;
esac
