#!/bin/sh
iscsiadm -m node --login
vgchange -ay data-vg
e2fsck -p /dev/mapper/data--vg-lv
mount -o noatime,discard /dev/mapper/data--vg-lv /srv/data
systemctl start a.service b
systemctl start once
