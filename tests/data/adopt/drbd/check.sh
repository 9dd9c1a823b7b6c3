#!/bin/sh
/sbin/service nfs status >/dev/null
if [ $? -ne 0 ];then
    /sbin/service nfs restart
    /sbin/service nfs status >/dev/null
    if [ $? -ne 0 ];then
        # It does not come back.
        umount /dev/drbd0
        drbdadm secondary r0
        service keepalived stop
    fi
fi
