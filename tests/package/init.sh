# shellcheck shell=sh
# The init script as an administrator without systemd uses it. Usage: init.sh BINARY

cd /tree || exit
make -s install BIN="$1"
mkdir -p /etc/keepalived
rm -f /etc/keepalived/keepalived.conf
service=/etc/init.d/glha

fails 3 $service status
expect 'is not running' $service stop
fails 7 $service reload
fails 2 $service
# No configuration.
fails 1 $service start

small_configuration >/etc/glha/glha.conf
expect 'started (pid' $service start
expect 'is running (pid' $service start
expect 'is running (pid' $service status
await 10 has_address 10.99.0.51
first=$(cat /run/keepalived.pid)

sed 's/10.99.0.51/10.99.0.52/' /etc/glha/glha.conf >/etc/glha/other && mv /etc/glha/other /etc/glha/glha.conf
expect 'has reloaded its configuration' $service reload
await 10 has_address 10.99.0.52
[ "$(cat /run/keepalived.pid)" = "$first" ] || die 'a reload made another process'

echo 'no such keyword' >>/etc/glha/glha.conf
echo 'vrrp_instance BAD {' >>/etc/glha/glha.conf
fails 1 $service reload
has_address 10.99.0.52 || die 'a refused reload took the address'
sed '/no such/,$d' /etc/glha/glha.conf >/etc/glha/other && mv /etc/glha/other /etc/glha/glha.conf

expect 'started (pid' $service restart
[ "$(cat /run/keepalived.pid)" != "$first" ] || die 'a restart left the old process'
await 10 has_address 10.99.0.52
expect stopped $service stop
! has_address 10.99.0.52 || die 'a stop left the address'
fails 3 $service status
$service try-restart
fails 3 $service status

# After a crash.
$service start
await 10 has_address 10.99.0.52
pid=$(cat /run/keepalived.pid)
kill -KILL "$pid"
await 10 [ ! -d "/proc/$pid" ]
fails 1 $service status
expect 'started (pid' $service start
await 10 has_address 10.99.0.52

# Its options come from the settings.
echo 'DAEMON_ARGS="-D -G -g/tmp/service.log"' >/etc/default/glha
$service restart
await 10 grep -q 'Entering MASTER STATE' /tmp/service_vrrp.log
$service force-reload
$service stop
