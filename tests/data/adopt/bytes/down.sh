#!/bin/sh
umount /srv/data
