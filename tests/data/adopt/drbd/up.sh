#!/bin/bash
exec >>/var/log/ha.log 2>&1
/sbin/drbdadm primary r0
/bin/mount /dev/drbd0 /export &>>/var/log/mount.log
/sbin/service nfs restart
echo done
