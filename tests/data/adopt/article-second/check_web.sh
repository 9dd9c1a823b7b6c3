#!/bin/bash
# Starts nginx again; where that does not help, the other node is to have it.
n=`ps -C nginx --no-headers | wc -l`
if [ $n -eq 0 ];then
    service nginx start
    sleep 1
    if [ `ps -C nginx --no-headers | wc -l` -eq 0 ];then
        service keepalived stop
        umount /srv/git-data
    fi
fi
