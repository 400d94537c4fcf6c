#!/bin/bash
# Runs in the virtual machine, whose cgroup version 2 has every controller and whose kernel has AppArmor: a container of LXC
# with limits goes on under another name with the same limits, those that were changed while it ran among them.
# Then a service with limits of its own, as a plain process.
set -euo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# As systemd has it: LXC makes its cgroups beside that of the first process, if it has this name.
mkdir /sys/fs/cgroup/init.scope
mapfile -t pids </sys/fs/cgroup/init/cgroup.procs
for pid in "${pids[@]}"; do echo "$pid" >/sys/fs/cgroup/init.scope/cgroup.procs; done

limits() { (cd "/sys/fs/cgroup/lxc.payload.$1" && echo "$(<memory.max) $(<memory.high) $(<pids.max)"); }
count() { tail -n 1 "$1/$2/rootfs/count"; }
goes_on() {
    local last
    last=$(count "$@")
    until [ "$(count "$@")" -gt "$last" ]; do sleep 0.2; done
    awk 'NR > 1 && $1 != last + 1 { exit 1 } { last = $1 }' "$1/$2/rootfs/count"
}

/opt/workloads/mklxc c1 '/bin/sh /opt/workloads/counter.sh /count' 'lxc.apparmor.profile = unconfined' \
    'lxc.cgroup2.memory.max = 67108864' 'lxc.cgroup2.pids.max = 33'
until [ -s /var/lib/lxc/c1/rootfs/count ]; do sleep 0.2; done
lxc-cgroup -n c1 memory.high 50331648
lxc-cgroup -n c1 pids.max 44
[ "$(limits c1)" = '67108864 50331648 44' ]
ckpt export c1 -o /data/c1.ckpt
[ "$(lxc-info -n c1 -sH)" = STOPPED ]
# CRIU does not see AppArmor yet: that is told before anything is made.
! ckpt import /data/c1.ckpt --name c2 -P /data/lxc 2>/data/said
grep -q 'mount -t securityfs' /data/said
[ ! -e /data/lxc/c2 ]
mount -t securityfs securityfs /sys/kernel/security
# CRIU keeps what it has found out about the kernel until the next boot.
rm -f /run/criu.kdat
ckpt import /data/c1.ckpt --name c2 -P /data/lxc
[ "$(lxc-info -P /data/lxc -n c2 -sH)" = RUNNING ]
[ "$(limits c2)" = '67108864 50331648 44' ]
[ ! -e /sys/fs/cgroup/lxc.payload.c1 ]
goes_on /data/lxc c2
# What LXC itself cannot do is told before anything is frozen, with the way out.
! ckpt export c2 -P /data/lxc -o /data/c2.ckpt 2>/data/said
grep -q 'cannot dump a restored container again' /data/said
! grep -q dumping /data/said
goes_on /data/lxc c2
lxc-stop -k -P /data/lxc -n c2
lxc-start -P /data/lxc -n c2 </dev/null >/dev/null 2>&1
until [ -s /data/lxc/c2/rootfs/count ]; do sleep 0.2; done
ckpt export c2 -P /data/lxc -o /data/c2.ckpt --leave-running
lxc-stop -k -P /data/lxc -n c2

# A service in a cgroup of its own, without systemd.
mkdir /sys/fs/cgroup/services
echo '+memory +pids' >/sys/fs/cgroup/services/cgroup.subtree_control
mkdir /sys/fs/cgroup/services/app.service
echo 33554432 >/sys/fs/cgroup/services/app.service/memory.max
echo 22 >/sys/fs/cgroup/services/app.service/pids.max
setsid sh -c 'echo $$ >/sys/fs/cgroup/services/app.service/cgroup.procs; echo $$ >/data/app.pid
    exec sh /opt/workloads/counter.sh /data/count' </dev/null >/dev/null 2>&1 &
until [ -s /data/count ]; do sleep 0.2; done
ckpt export --unit app.service -o /data/app.ckpt
rmdir /sys/fs/cgroup/services/app.service
ckpt import /data/app.ckpt --cgroup-parent /other/parent --name app
grep -qx '0::/other/parent/app' "/proc/$(cat /data/app.pid)/cgroup"
[ "$(cat /sys/fs/cgroup/other/parent/app/memory.max /sys/fs/cgroup/other/parent/app/pids.max | xargs)" = '33554432 22' ]
last=$(tail -n 1 /data/count)
until [ "$(tail -n 1 /data/count)" -gt "$last" ]; do sleep 0.2; done
awk 'NR > 1 && $1 != last + 1 { exit 1 } { last = $1 }' /data/count
echo PASSED
