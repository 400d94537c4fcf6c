#!/bin/bash
# Runs in the virtual machine, whose cgroup version 2 has every controller: limits read back equal after an import under
# another name and parent, runc and crun.
set -euo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

limits() {
    local directory
    directory=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$("$1" state "$2" | jq .pid)/cgroup")
    for file in memory.max pids.max cpu.max cpu.weight; do echo "$file $(cat "$directory/$file")"; done
}

for runtime in runc crun; do
    echo "== $runtime"
    /opt/workloads/mkbundle "/data/$runtime" --runtime $runtime --memory 67108864 --pids 50 --cpu-quota 50000 \
        --cgroups-path "/old/$runtime" -- sh /opt/workloads/counter.sh /count
    $runtime run -d --bundle "/data/$runtime" $runtime </dev/null >/dev/null 2>&1
    until [ "$(wc -l <"/data/$runtime/rootfs/count")" -ge 3 ]; do sleep 0.2; done
    $runtime update --memory 83886080 --pids-limit 60 $runtime
    before=$(limits $runtime $runtime)
    grep -q 'memory.max 83886080' <<<"$before"
    grep -q 'pids.max 60' <<<"$before"
    grep -q 'cpu.max 50000 100000' <<<"$before"
    ckpt export $runtime -o "/data/$runtime.tar.zst"
    ckpt import "/data/$runtime.tar.zst" --name "$runtime-2" --bundle "/data/$runtime-2" --cgroup-parent /new/parent
    after=$(limits $runtime "$runtime-2")
    [ "$before" = "$after" ] || { printf 'before:\n%s\nafter:\n%s\n' "$before" "$after"; exit 1; }
    grep -q '^0::/new/parent/' "/proc/$($runtime state "$runtime-2" | jq .pid)/cgroup"
    last=$(tail -n 1 "/data/$runtime-2/rootfs/count")
    until [ "$(tail -n 1 "/data/$runtime-2/rootfs/count")" -gt "$last" ]; do sleep 0.2; done
    awk 'NR > 1 && $1 != last + 1 { exit 1 } { last = $1 }' "/data/$runtime-2/rootfs/count"
    $runtime delete -f "$runtime-2"
done
echo PASSED
