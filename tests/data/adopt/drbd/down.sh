#!/bin/bash
exec >>/var/log/ha.log 2>&1
/sbin/service nfs stop
/bin/umount /dev/drbd0
/sbin/drbdadm secondary r0
