#!/bin/sh
mount /dev/mapper/xfs /srv/data
