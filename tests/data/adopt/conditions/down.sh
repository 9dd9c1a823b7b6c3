#!/bin/sh
systemctl stop web reports
umount /srv/data
