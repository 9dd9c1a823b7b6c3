#!/bin/bash
DEV=$(blkid -L shared)
mount $DEV /srv/a
mount -t nfs filer:/export /srv/b
mount --bind /srv/a /srv/c
mount -a
mount -o remount,rw /srv/data
sh -c "mount /dev/sdx /srv/d"
eval "$HOOK"
$RUN mount /dev/sdy /srv/e
cat >/etc/cron.d/ha <<END
0 * * * * root umount /srv/data
END
ssh other umount /srv/data
cryptsetup luksOpen /dev/sdz secret
if mount /dev/mapper/mmp /srv/data; then
    logger mounted
else
    logger failed
fi
echo mount /dev/mapper/mmp /srv/data
