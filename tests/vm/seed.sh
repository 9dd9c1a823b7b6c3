#!/bin/sh
# Makes what guests are started from, in FOLDER: seed.img (a Debian with systemd) and vmlinuz.
# Usage: seed.sh FOLDER
#
# The tree and the image are kept between runs, and made anew if this script or a file of the guests has
# changed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
SUITE=bookworm
PACKAGES=systemd-sysv,udev,dbus,iproute2,iputils-ping,e2fsprogs,psmisc,procps,kmod,dmsetup,curl,nginx-light
PACKAGES=$PACKAGES,linux-image-cloud-amd64,keepalived
# What disks can lie on.
PACKAGES=$PACKAGES,lvm2,cryptsetup-bin,xfsprogs,btrfs-progs,sg3-utils,open-iscsi,multipath-tools,drbd-utils

say() {
    printf 'seed: %s\n' "$*"
}

# The mirror that this machine uses itself.
mirror() {
    sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' \
        /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | grep -v security | head -n 1
}

make_tree() {
    from=$(mirror)
    say "debootstrap of $SUITE, some minutes"
    rm -rf tree tree.of
    debootstrap --variant=minbase --include="$PACKAGES" "$SUITE" tree "${from:-http://deb.debian.org/debian}" >debootstrap.log 2>&1 || {
        tail -n 20 debootstrap.log
        exit 1
    }
    rm -rf tree/var/cache/apt/archives/*.deb tree/usr/share/doc tree/usr/share/locale
    echo "$SUITE $PACKAGES" >tree.of
}

make_image() {
    say 'image of the guests'
    rm -rf seed.img seed.of root
    cp -a tree root
    cp -a "$here/guest/." root/
    chown -R 0:0 root/etc/keepalived root/etc/systemd root/usr/local/sbin
    mkdir -p root/home/git/gitlab-data root/var/log/journal
    : >root/etc/fstab
    # The host's name comes from the kernel's command line.
    rm -f root/etc/hostname
    # There and empty: nothing is enabled as on a first boot.
    : >root/etc/machine-id
    echo '127.0.0.1 localhost node1 node2 node3' >root/etc/hosts
    for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
        fstrim.timer getty@tty1.service serial-getty@ttyS0.service getty-static.service systemd-timesyncd.service \
        nginx.service keepalived.service lvm2-monitor.service open-iscsi.service iscsid.service iscsid.socket \
        multipathd.service multipathd.socket drbd.service; do
        chroot root systemctl -q disable "$unit" 2>/dev/null || :
    done
    # What only costs time.
    chroot root systemctl -q mask systemd-logind.service systemd-pstore.service systemd-random-seed.service \
        systemd-networkd-persistent-storage.service ldconfig.service systemd-hwdb-update.service \
        systemd-journal-catalog-update.service systemd-firstboot.service
    chroot root systemctl -q mask serial-getty@ttyS0.service console-getty.service getty@tty1.service
    chroot root systemctl -q enable systemd-networkd agent addresses shared-disk gitlab-runsvdir nginx
    # Its kernel reaches an NVMe disk by itself: no initrd.
    cp root/boot/vmlinuz-* vmlinuz
    rm -rf root/boot/*
    truncate -s 3G seed.img
    # A journal would only write everything twice: a guest's own disk is thrown away.
    mkfs.ext4 -q -F -O ^has_journal -d root seed.img
    rm -rf root
    echo "$stamp" >seed.of
}

[ "$(cat tree.of 2>/dev/null)" = "$SUITE $PACKAGES" ] || make_tree
stamp=$(cd "$here" && find seed.sh guest -type f -exec sha256sum {} + | sort | sha256sum)
[ "$(cat seed.of 2>/dev/null)" = "$stamp" ] || make_image
