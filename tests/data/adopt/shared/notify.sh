#!/bin/sh
case $3 in
    MASTER) mount /dev/mapper/mmp /srv/data ;;
    *) umount /srv/data ;;
esac
