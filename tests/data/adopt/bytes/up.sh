#!/bin/sh
# ¹ÒÔØ
echo "×ª»»" >>/var/log/ha.log
mount /dev/mapper/mmp /srv/data
