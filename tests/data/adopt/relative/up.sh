#!/bin/bash
set -e
MNT=/srv/lost
source .env
[ "${0##*/}" = up.sh ] || exit 1
DEV=/dev/mapper/mmp
mountpoint -q /srv/data && exit 0
mount $DEV /srv/data
mount $DEV $MNT
