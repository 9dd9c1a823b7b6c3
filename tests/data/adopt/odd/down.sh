#!/bin/bash
umount $(findmnt -n -o TARGET /dev/mapper/mmp)
umount -a -t ext4
umount /srv/data
systemctl stop keepalived
