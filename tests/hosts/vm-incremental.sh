#!/bin/bash
# Runs in the virtual machine, whose kernel tracks memory: two pre-dumps and a final dump, each holding only what changed,
# restored from the three archives together.
set -euo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

pages() { ckpt ls --json "$1" | jq -e '[.[] | select(.name | test("pages-")) | .bytes] | add'; }

for runtime in runc crun; do
    echo "== $runtime"
    /opt/workloads/mkbundle "/data/$runtime" --runtime $runtime --base debian --rootfs overlay -- \
        python3 /opt/workloads/continuity.py /state
    $runtime run -d --bundle "/data/$runtime" $runtime </dev/null >/dev/null 2>&1
    until grep -q 'tick 3' "/data/$runtime/rootfs/state"; do sleep 0.5; done
    cd /data
    ckpt export $runtime -o 1.tar.zst --pre-dump
    ckpt export $runtime -o 2.tar.zst --pre-dump --parent 1.tar.zst --auto-dedup
    ckpt export $runtime -o 3.tar.zst --parent 2.tar.zst
    first=$(pages 1.tar.zst) second=$(pages 2.tar.zst) third=$(pages 3.tar.zst)
    echo "pages: $first $second $third"
    [ "$second" -lt "$((first / 2))" ]
    [ "$third" -lt "$((first / 2))" ]
    # Neither without its parents nor with them in the wrong order.
    ! ckpt import 3.tar.zst --name "$runtime-2" --bundle "/data/$runtime-2" --root /workloads/debian
    ! ckpt import 3.tar.zst --name "$runtime-2" --bundle "/data/$runtime-2" --root /workloads/debian \
        --parent 2.tar.zst --parent 1.tar.zst
    ! ckpt import 1.tar.zst --name "$runtime-2" --bundle "/data/$runtime-2" --root /workloads/debian
    ckpt import 3.tar.zst --name "$runtime-2" --bundle "/data/$runtime-2" --root /workloads/debian \
        --parent 1.tar.zst --parent 2.tar.zst
    ticks=$(wc -l <"/data/$runtime-2/rootfs/state")
    until [ "$(wc -l <"/data/$runtime-2/rootfs/state")" -gt "$((ticks + 3))" ]; do sleep 0.5; done
    ! grep FAIL "/data/$runtime-2/rootfs/state"
    awk '$2 != NR { exit 1 }' "/data/$runtime-2/rootfs/state"
    $runtime delete -f "$runtime-2"
    rm -f ./*.tar.zst
done
echo PASSED
