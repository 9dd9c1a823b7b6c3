# shellcheck shell=sh
# The Debian package: installed, run, upgraded over an edited hook, removed, purged.
# Usage: deb.sh OLD.deb NEW.deb

old=$1
new=$2
export DEBIAN_FRONTEND=noninteractive
find /upper >/tmp/before

dpkg -i "$old" >/tmp/dpkg 2>&1 || die "$(cat /tmp/dpkg)"
expect 'glha' /usr/sbin/glha --version
[ ! -e /etc/glha/glha.conf ] || die 'the package brought a configuration'
! pgrep -x glha >/dev/null || die 'the package started the daemon'
systemd-analyze verify --man=no glha.service glha-release.service glha@two.service glha-release@two.service >/tmp/verify 2>&1 || die "$(cat /tmp/verify)"
[ ! -s /tmp/verify ] || die "systemd-analyze verify: $(cat /tmp/verify)"
man -w glha glha.conf glha-hooks >/dev/null || die 'the manual pages are not found'
# They name what is here.
for page in /usr/share/man/man8/glha.8* /usr/share/man/man5/glha.conf.5* /usr/share/man/man7/glha-hooks.7*; do
    zcat -f "$page" >/tmp/page
    ! grep -q '/usr/local/\(sbin/glha\|lib\|share/glha\)' /tmp/page || die "$page names a folder that is not here"
    ! grep -qx '.Pa .new' /tmp/page || die "$page: dpkg has another suffix"
done
grep -qx '.Pa .dpkg-dist' /tmp/page || die 'the suffix of dpkg is not in the manual'
[ -e /usr/lib/glha/keepalived ] || die 'no link for the other name'
zcat -f /usr/share/doc/glha/glha.conf.example* | grep -q '^hooks VI_1' || die 'no example'

gated_configuration >/etc/glha/glha.conf
/etc/init.d/glha start >/dev/null
await 10 has_address 10.99.0.51
pid=$(cat /run/keepalived.pid)

echo '# mine' >>/etc/glha/hooks/notify.sh
dpkg --force-confold -i "$new" >/tmp/dpkg 2>&1 || die "$(cat /tmp/dpkg)"
expect 'Version: 0.1.1' dpkg -s glha
grep -q "process $pid still runs the version before (0.1.0)" /tmp/dpkg || die "no word of a restart: $(cat /tmp/dpkg)"
expect 'a restart is due' glha status
grep -q '^# mine' /etc/glha/hooks/notify.sh || die 'an edited hook was overwritten'
grep -q '^# newer' /etc/glha/hooks/notify.sh.dpkg-dist || die 'the new hook is not beside the edited one'
grep -q '^# newer' /etc/glha/hooks/check.sh || die 'a hook that nobody edited is still the old one'
[ "$(cat /run/keepalived.pid)" = "$pid" ] || die 'an upgrade put another daemon in place'
kill -0 "$pid" || die 'an upgrade ended the running daemon'
has_address 10.99.0.51 || die 'an upgrade took the address'
upgraded /etc/init.d/glha start

# The package's policy file lets no service be stopped either; here it must.
rm /usr/sbin/policy-rc.d
dpkg -r glha >/tmp/dpkg 2>&1 || die "$(cat /tmp/dpkg)"
! has_address 10.99.0.51 || die "a removal left the address: $(cat /tmp/dpkg)"
! kill -0 "$pid" 2>/dev/null || die 'a removal left the daemon'
[ -f /etc/glha/hooks/notify.sh ] || die 'a removal took the settings'
dpkg -P glha >/tmp/dpkg 2>&1 || die "$(cat /tmp/dpkg)"
# The configuration was the administrator's own.
rm /etc/glha/glha.conf
rmdir /etc/glha 2>/dev/null || :
find /upper | grep -v -x -F -f /tmp/before | grep glha >/tmp/left || :
# Whiteouts are files that are gone; dpkg's logs keep names.
left=$(while read -r file; do [ -c "$file" ] || echo "$file"; done </tmp/left)
[ -z "$left" ] || die "left behind: $left"
