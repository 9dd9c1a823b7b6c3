#!/bin/sh
umount /srv/other
