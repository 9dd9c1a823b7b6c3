#!/bin/bash
chown www-data $1
chown -R www-data $1/uploads
/etc/keepalived/deeper.sh
