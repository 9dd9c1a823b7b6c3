#!/bin/sh
source /etc/keepalived/common.sh
sudo -n timeout 10 umount "$MNT"
