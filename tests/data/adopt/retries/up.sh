#!/bin/bash
n=0
while [ $n -lt 5 ]; do
    out=$(mount /dev/drbd/by-res/data/0 /srv/data 2>&1)
    rc=$?
    [ $rc -eq 0 ] && break
    n=$((n + 1))
    sleep 1
done
until systemctl start web 2>&1 | tee -a /var/log/up.log; do sleep 1; done
mountpoint -q /srv/data || mount /dev/drbd/by-res/data/0 /srv/data
