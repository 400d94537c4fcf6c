#!/bin/sh
# services.sh: the first process of a small server: nginx on port 8080, Debian's cron whose job appends the time
# to /cron every minute, a writer whose file was deleted, and a shell loop that counts into /count.
here=${0%/*}
# Cron takes a table only of its owner and with this mode, and a bare % for the end of the command.
(umask 077; echo '* * * * * date +\%s >>/cron' >/var/spool/cron/crontabs/root)
cron -f &
nginx -c "$here/nginx.conf" &
# A log that was rotated away: 3 MiB that no directory has any more.
sh -c 'exec 3>/rotated; rm /rotated; head -c 3145728 /dev/urandom >&3; while sleep 1; do echo line >&3; done' &
exec sh "$here/counter.sh" /count
