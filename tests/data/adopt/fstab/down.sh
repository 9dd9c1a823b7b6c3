#!/bin/sh
umount /srv/data/log
umount /srv/data
