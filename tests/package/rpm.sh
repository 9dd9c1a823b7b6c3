# shellcheck shell=sh
# The rpm package: installed, run, upgraded over an edited hook, removed.
# Usage: rpm.sh OLD.rpm NEW.rpm

old=$1
new=$2
# This machine has its packages from elsewhere, so nothing is asked for, and the database is new.
package() {
    rpm --dbpath /tmp/rpmdb --nodeps "$@" >/tmp/rpm 2>&1 || die "rpm $*: $(cat /tmp/rpm)"
}

rpm --dbpath /tmp/rpmdb --initdb
find /upper >/tmp/before
package -i "$old"
expect 'glha' /usr/sbin/glha --version
expect 'Keepalived v2.2.7' /usr/lib/glha/keepalived -v
[ ! -e /etc/glha/glha.conf ] || die 'the package brought a configuration'
! pgrep -x glha >/dev/null || die 'the package started the daemon'
systemd-analyze verify --man=no glha.service glha-release.service glha@two.service >/tmp/verify 2>&1 || die "$(cat /tmp/verify)"
[ ! -s /tmp/verify ] || die "systemd-analyze verify: $(cat /tmp/verify)"
grep -q '^hooks VI_1' /usr/share/glha/glha.conf.example || die 'no example'
! zcat -f /usr/share/man/man*/glha* | grep -q /etc/glha/glha.conf.example || die 'the manual names an example that is not there'
zcat -f /usr/share/man/man7/glha-hooks.7* | grep -qx '.Pa .rpmnew' || die 'the suffix of rpm is not in the manual'

gated_configuration >/etc/glha/glha.conf
/usr/sbin/glha -D
await 10 has_address 10.99.0.51
pid=$(cat /run/keepalived.pid)

echo '# mine' >>/etc/glha/hooks/notify.sh
package -U "$new"
grep -q "process $pid still runs the version before" /tmp/rpm || die "no word of a restart: $(cat /tmp/rpm)"
expect '0.1.1' rpm --dbpath /tmp/rpmdb -q glha
grep -q '^# mine' /etc/glha/hooks/notify.sh || die 'an edited hook was overwritten'
grep -q '^# newer' /etc/glha/hooks/notify.sh.rpmnew || die 'the new hook is not beside the edited one'
grep -q '^# newer' /etc/glha/hooks/check.sh || die 'a hook that nobody edited is still the old one'
kill -0 "$pid" || die 'an upgrade ended the running daemon'
has_address 10.99.0.51 || die 'an upgrade took the address'
upgraded /usr/sbin/glha -D

package -e glha
! has_address 10.99.0.51 || die 'a removal left the address'
! kill -0 "$pid" 2>/dev/null || die 'a removal left the daemon'
[ -f /etc/glha/hooks/notify.sh.rpmsave ] || die 'a removal took an edited hook'
rm -r /etc/glha
rm -rf /var/lib/glha
find /upper | grep -v -x -F -f /tmp/before | grep glha >/tmp/left || :
left=$(while read -r file; do [ -c "$file" ] || echo "$file"; done </tmp/left)
[ -z "$left" ] || die "left behind: $left"
