#!/bin/sh
mount /srv/data && mount -L logs /srv/data/log
mount /srv/elsewhere
