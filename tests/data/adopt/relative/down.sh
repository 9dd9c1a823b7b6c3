#!/bin/sh -e
mountpoint -q /srv/data && umount /srv/data
echo free
