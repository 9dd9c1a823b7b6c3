#!/bin/bash
systemctl stop web
for i in 1 2 3; do
    umount /srv/data && break
    fuser -k -m /srv/data
    sleep 1
done
grep -q " /srv/data " /proc/mounts && umount -l /srv/data
if mountpoint -q /srv/data; then
    umount -f /srv/data
fi
