#!/bin/sh
# counter.sh FILE [COUNT] [SECONDS]: appends 1, 2, 3... to FILE, one every SECONDS.
#
# The smallest proof of continuity: the numbers are kept only in this process, so after a restore they go on from the very
# next one, with none missing and none twice. Bounded, so that a forgotten container ends by itself.
file=${1:?}
count=${2:-20000}
seconds=${3:-0.05}
number=0
while [ "$number" -lt "$count" ]; do
    number=$((number + 1))
    echo "$number" >>"$file"
    sleep "$seconds"
done
