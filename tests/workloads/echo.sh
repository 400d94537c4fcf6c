#!/bin/sh
# echo.sh [FILE]: sends every line that a client on TCP port 7000 sends back to it, numbered from 1 on each connection, and
# counts into FILE (/count). Meant to be the first process of a container.
if [ "${1:-}" = --serve ]; then
    number=0
    while read -r line; do
        number=$((number + 1))
        echo "$number $line"
    done
    exit
fi
nc -ll -p 7000 -e "$0" --serve &
exec sh "${0%/*}/counter.sh" "${1:-/count}"
