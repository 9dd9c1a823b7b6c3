#!/bin/bash
state=${3}
dev='/dev/mapper/pr'
path='/srv/share'
_mount='/bin/mount'
_umount='/bin/umount'
_nfs=/etc/init.d/nfs-kernel-server

say() { local when=$(date +%T); local dev=none; echo "$when $*" >>/var/log/ha.log; }

take() {
  if ${_mount} ${dev} ${path} >>/var/log/ha.log; then
    say mounted
  else
    say "not mounted"
    return 1
  fi
}

give() {
  ${_umount} ${path}
  say gone
}

nfs() { ${_nfs} $1; say "nfs $1"; }

to_master() { take && nfs start; docker start samba; }
to_backup() { nfs stop; docker stop samba; give; }

case ${state,,} in
  master) to_master ;;
  *) to_backup ;;
esac
