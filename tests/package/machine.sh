#!/bin/sh
# Runs a script on a copy of this machine: machine.sh SCRIPT [ARGUMENT ...]
#
# With GLHA_MACHINE=FOLDER it is a copy of the system there, as debootstrap(8) makes one.
# The copy is an overlay over the root file system in mount, network and process namespaces of its own:
# what the script installs, starts and leaves behind is gone when it ends, however it ends. It finds
# - /tree, this project;  - /upper, all files that are not as they were on the machine;
# - eth0, up, with the address 10.99.0.1/24.
# The script is run by `sh -eu` and may use the functions below.
set -eu

if [ "${1:-}" != --inside ]; then
    # `--kill-child`: the copy ends with this process.
    exec unshare --mount --net --pid --fork --kill-child --mount-proc "$0" --inside "$@"
fi
shift

project=$(cd "$(dirname "$0")/../.." && pwd)
# Any folder will do, since only this namespace sees what is mounted there.
room=/mnt
mount -t tmpfs -o mode=755 tmpfs "$room"
mkdir "$room/upper" "$room/work" "$room/root"
mount -t overlay -o "lowerdir=${GLHA_MACHINE:-/},upperdir=$room/upper,workdir=$room/work" overlay "$room/root"
cd "$room/root"
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount --rbind /dev dev
# No service is started by an installation, and no hook of a package asks a systemd that is not here.
printf '#!/bin/sh\nexit 101\n' >usr/sbin/policy-rc.d
chmod 755 usr/sbin/policy-rc.d
mkdir -p tree upper
mount --bind "$project" tree
mount --bind -o ro "$room/upper" upper
ip link add eth0 type veth peer name wire
ip link set wire up
ip address add 10.99.0.1/24 dev eth0
ip link set eth0 up
ip link set lo up

# Whoever has started it, and from whatever environment: that of root at a terminal.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
script=$1
shift
# Nothing of the first start may count as a leftover of the test's subject.
# The inner shell shall see $0.
# shellcheck disable=SC2016
exec chroot . sh -eu -c '. /tree/tests/package/says.sh; . "$0"' "/tree/tests/package/$script" "$@"
