#!/bin/sh
systemctl stop b a.service
pkill -f worker
umount /srv/data
vgchange -a n data-vg
