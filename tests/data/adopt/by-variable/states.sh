#!/bin/sh
# Everything that differs between sites stands here.
DEV=/dev/mapper/mmp
MNT="/srv/data"
OPTS="-t ext4 -o noatime"
UNIT=${UNIT_OVERRIDE:-app}; UNIT=app.service
MOUNT=/bin/mount

state=$3
if [ "$state" = "MASTER" ]; then
    DEV=/dev/mapper/mmp; mount $OPTS $DEV $MNT || { logger "no disk"; exit 1; }
    chown app:app "$MNT"
    chmod 0750 ${MNT}
    systemctl start $UNIT
    logger "$2 is master"
elif [ "$state" = "BACKUP" ] || [ "$state" = "FAULT" ]; then
    systemctl stop $UNIT
    umount "$MNT" && logger "$2 has let go"
fi
