#!/bin/sh
. "$(dirname "$0")/common.sh"
take
/etc/keepalived/extra.sh "$MNT" start
