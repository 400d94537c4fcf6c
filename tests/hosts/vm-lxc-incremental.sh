#!/bin/bash
# Runs in the virtual machine, whose kernel tracks memory: a pre-dump and a final dump of a container of LXC, the second of which
# holds only what changed, restored from the two archives together.
set -euo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

mount -t securityfs securityfs /sys/kernel/security
mkdir /sys/fs/cgroup/init.scope
mapfile -t pids </sys/fs/cgroup/init/cgroup.procs
for pid in "${pids[@]}"; do echo "$pid" >/sys/fs/cgroup/init.scope/cgroup.procs; done

pages() { ckpt ls --json "$1" | jq -e '[.[] | select(.name | test("pages-")) | .bytes] | add'; }

/opt/workloads/mklxc -b c1 'python3 /opt/workloads/steady.py /state 24 1 0.2' 'lxc.apparmor.profile = unconfined'
until [ "$(wc -l </var/lib/lxc/c1/rootfs/state)" -ge 3 ]; do sleep 0.5; done
cd /data
ckpt export c1 -o 1.ckpt --pre-dump
[ "$(lxc-info -n c1 -sH)" = RUNNING ]
ckpt export c1 -o 2.ckpt --parent 1.ckpt
[ "$(lxc-info -n c1 -sH)" = STOPPED ]
first=$(pages 1.ckpt) second=$(pages 2.ckpt)
echo "pages: $first $second"
[ "$second" -lt "$((first / 2))" ]
! ckpt import 2.ckpt --name c2 -P /data/lxc --root /workloads/debian
ckpt import 2.ckpt --name c2 -P /data/lxc --root /workloads/debian --parent 1.ckpt
ticks=$(wc -l </data/lxc/c2/rootfs/state)
until [ "$(wc -l </data/lxc/c2/rootfs/state)" -gt "$((ticks + 3))" ]; do sleep 0.5; done
! grep FAIL /data/lxc/c2/rootfs/state
awk '$1 != NR { exit 1 }' /data/lxc/c2/rootfs/state
echo PASSED
