# shellcheck shell=sh
# `make install`, an upgrade that finds an edited hook, the units, the manual, `make uninstall`.
# Usage: install.sh BINARY

binary=$1
cd /tree || exit
install_it() {
    make -s install BIN="$binary" "$@"
}

install_it
for file in /usr/local/sbin/glha /usr/local/lib/systemd/system/glha.service \
    /usr/local/lib/systemd/system/glha-release.service /usr/local/lib/systemd/system/glha@.service \
    /usr/local/lib/systemd/system/glha-release@.service /usr/local/lib/glha/keepalived \
    /etc/init.d/glha /etc/default/glha \
    /usr/local/lib/tmpfiles.d/glha.conf /etc/logrotate.d/glha /etc/glha/glha.conf.example \
    /etc/glha/hooks/mount.sh /etc/glha/hooks/check.sh /etc/glha/hooks/notify.sh \
    /usr/local/share/glha/event.schema.json /usr/local/share/glha/as-keepalived.conf \
    /usr/local/share/glha/glha.alerts.yml /usr/local/share/glha/glha.dashboard.json; do
    [ -f "$file" ] || die "$file was not installed"
done
[ -f /etc/glha/hooks/lib/storage.sh ] || die 'mount.sh does not find what it stands on'
[ -x /etc/glha/hooks/mount.sh ] || die 'the hooks are not executable'
expect 'glha' glha --version

# systemd's own judgement of what was installed.
systemd-analyze verify --man=no /usr/local/lib/systemd/system/glha.service \
    /usr/local/lib/systemd/system/glha-release.service /usr/local/lib/systemd/system/glha@.service \
    /usr/local/lib/systemd/system/glha-release@.service >/tmp/verify 2>&1 || die "$(cat /tmp/verify)"
[ ! -s /tmp/verify ] || die "systemd-analyze verify: $(cat /tmp/verify)"
# The drop-in that makes glha answer to keepalived's name.
root=/tmp/enabled
mkdir -p $root/etc/systemd/system/glha.service.d $root/usr/lib/systemd/system
cp /usr/local/lib/systemd/system/glha.service $root/usr/lib/systemd/system/
cp /usr/local/share/glha/as-keepalived.conf $root/etc/systemd/system/glha.service.d/
systemctl --root=$root -q enable glha.service
for link in keepalived.service multi-user.target.wants/glha.service; do
    target=$(readlink $root/etc/systemd/system/$link) || die "$link was not made"
    [ "${target##*/}" = glha.service ] || die "$link leads to $target"
done
mkdir -p /etc/systemd/system/glha.service.d
cp /usr/local/share/glha/as-keepalived.conf /etc/systemd/system/glha.service.d/
systemd-analyze verify --man=no glha.service >/tmp/verify 2>&1 || die "$(cat /tmp/verify)"
rm -r /etc/systemd/system/glha.service.d
# Its daemon has the other name.
expect 'Keepalived v2.2.7 (01/16,2022)' /usr/local/lib/glha/keepalived -v
expect 'ExecStart=/usr/local/lib/glha/keepalived -n' cat /usr/local/share/glha/as-keepalived.conf
systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/glha.conf
[ "$(stat -c %a /run/glha /var/lib/glha | tr '\n' ' ')" = '755 700 ' ] || die 'modes of the run-time folders'
if command -v logrotate >/dev/null; then
    logrotate -d /etc/logrotate.d/glha >/tmp/rotate 2>&1 || die "$(cat /tmp/rotate)"
fi

# The manual, as a person reads it.
for page in man8/glha.8 man5/glha.conf.5 man7/glha-hooks.7; do
    text=$(MANWIDTH=80 man -l "/usr/local/share/man/$page" 2>/tmp/man.err) || die "$(cat /tmp/man.err)"
    [ "$(printf "%s\n" "$text" | wc -l)" -gt 100 ] || die "man -l $page shows next to nothing"
done

# An upgrade: an edited hook stays and the new one lands beside it, once; what was not edited is renewed.
echo '# mine' >>/etc/glha/hooks/notify.sh
echo 'DAEMON_ARGS="-D -G"' >/etc/default/glha
mkdir /tmp/newer
cp -r Makefile Cargo.toml etc hooks man /tmp/newer/
cd /tmp/newer || exit
for hook in notify check lib/storage; do
    echo '# newer' >>hooks/$hook.sh
done
expect '/etc/glha/hooks/notify.sh was edited and stays; the new one is /etc/glha/hooks/notify.sh.new' \
    install_it
grep -q '^# mine' /etc/glha/hooks/notify.sh || die 'an edited hook was overwritten'
grep -q '^# newer' /etc/glha/hooks/notify.sh.new || die 'the new hook is not beside the edited one'
grep -q '^# newer' /etc/glha/hooks/check.sh || die 'a hook that nobody edited is still the old one'
grep -q '^# newer' /etc/glha/hooks/lib/storage.sh || die 'what mount.sh stands on is still the old one'
grep -q -- '-D -G' /etc/default/glha || die 'settings were overwritten'
[ ! -e /etc/glha/hooks/check.sh.new ] || die 'check.sh.new for nothing'

# A command of keepalived's name: only if it is asked for, and never in the place of another program.
[ ! -e /usr/local/sbin/keepalived ] || die 'a keepalived that nobody wanted'
install_it KEEPALIVED_LINK=/usr/local/sbin/keepalived >/dev/null
expect 'Keepalived v2.2.7' /usr/local/sbin/keepalived -v
install_it KEEPALIVED_LINK=/usr/local/sbin/keepalived >/dev/null
make -s uninstall KEEPALIVED_LINK=/usr/local/sbin/keepalived >/dev/null
[ ! -L /usr/local/sbin/keepalived ] || die 'the link stays after an uninstallation'
echo theirs >/usr/local/sbin/keepalived
fails 2 install_it KEEPALIVED_LINK=/usr/local/sbin/keepalived
expect theirs cat /usr/local/sbin/keepalived
make -s uninstall KEEPALIVED_LINK=/usr/local/sbin/keepalived >/dev/null
expect theirs cat /usr/local/sbin/keepalived
rm /usr/local/sbin/keepalived

# The program is where cargo says, in whatever folder it builds.
mkdir -p /tmp/elsewhere
cp "$binary" /tmp/elsewhere/glha
cat >/tmp/cargo <<'END'
#!/bin/sh
echo '{"reason":"compiler-artifact","target":{"name":"build-script-build"},"executable":null,"fresh":true}'
echo '{"reason":"compiler-artifact","target":{"name":"glha"},"executable":"/tmp/elsewhere/glha","fresh":false}'
echo '{"reason":"build-finished","success":true}'
END
chmod 755 /tmp/cargo
make -s CARGO=/tmp/cargo
cmp target/glha /tmp/elsewhere/glha || die 'make has not found what cargo has built'
rm target/glha
make -s CARGO=/tmp/cargo install >/dev/null
cmp /usr/local/sbin/glha /tmp/elsewhere/glha || die 'make install has not found what cargo has built'
printf '#!/bin/sh\nexit 101\n' >/tmp/cargo
fails 2 make -s CARGO=/tmp/cargo

expect '/etc/glha/hooks/notify.sh was edited and stays' make -s uninstall
rm /etc/glha/hooks/notify.sh /etc/default/glha
rmdir /etc/glha/hooks /etc/glha
left=$(find /upper -name '*glha*' -type f ! -path '/upper/tmp/*' ! -path '/upper/var/lib/*')
[ -z "$left" ] || die "left behind: $left"

# Into a root of one's own, in other places, without what it does not want.
cd /tree || exit
install_it DESTDIR=/tmp/stage PREFIX=/opt/ha SYSCONFDIR=/opt/ha/etc UNITDIR=/lib/systemd/system INITDIR= \
    TMPFILESDIR= LOGROTATEDIR=
[ -x /tmp/stage/opt/ha/sbin/glha ] || die 'PREFIX'
[ -f /tmp/stage/opt/ha/etc/glha/hooks/mount.sh ] || die 'SYSCONFDIR'
[ ! -e /tmp/stage/opt/ha/etc/init.d ] || die 'INITDIR='
expect 'ExecStart=/opt/ha/sbin/glha -n' cat /tmp/stage/lib/systemd/system/glha.service
expect 'EnvironmentFile=-/opt/ha/etc/default/glha' cat /tmp/stage/lib/systemd/system/glha.service
expect 'glha -n -f /opt/ha/etc/glha/%i.conf' cat /tmp/stage/lib/systemd/system/glha@.service
expect '/opt/ha/share/glha/as-keepalived.conf' cat /tmp/stage/opt/ha/share/man/man8/glha.8
expect '../../sbin/glha' readlink /tmp/stage/opt/ha/lib/glha/keepalived
make -s uninstall DESTDIR=/tmp/stage PREFIX=/opt/ha SYSCONFDIR=/opt/ha/etc UNITDIR=/lib/systemd/system INITDIR= \
    TMPFILESDIR= LOGROTATEDIR=
left=$(find /tmp/stage ! -type d)
[ -z "$left" ] || die "left behind: $left"
