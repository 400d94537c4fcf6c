#!/bin/bash
# postgres.sh: PostgreSQL with a psql inside the same container that holds a transaction open.
#
# psql reads SQL from the FIFO /var/tmp/sql/in and writes to /var/tmp/sql/out. It has begun a transaction and inserted a
# row; whoever tests writes "INSERT ...; COMMIT;" to the FIFO after the restore, and the row from before is there too.
# PostgreSQL does not run as root, and tasks of other uids can be dumped only in a user namespace (or with
# CAP_SYS_RESOURCE): see mkbundle --userns. Runs as root and steps down with setpriv.
set -euo pipefail

data=/var/tmp/pgdata
sql=/var/tmp/sql
bin=$(echo /usr/lib/postgresql/*/bin)

as_postgres() {
    setpriv --reuid=postgres --regid=postgres --clear-groups env HOME=/var/tmp PATH="$bin:/usr/bin:/bin" LC_ALL=C.UTF-8 "$@"
}

mkdir -p "$data" "$sql" /run/postgresql
chown postgres:postgres "$data" "$sql" /run/postgresql
chmod 700 "$data"
cd /var/tmp
as_postgres initdb --no-sync --auth=trust --encoding=UTF8 --locale=C.UTF-8 -D "$data" >/var/tmp/initdb.log 2>&1
as_postgres postgres -D "$data" -c listen_addresses='*' -c shared_buffers=16MB -c fsync=off </dev/null >/var/tmp/postgres.log 2>&1 &
server=$!
until as_postgres psql -qc 'SELECT 1' postgres >/dev/null 2>&1; do sleep 0.1; done

as_postgres mkfifo "$sql/in"
# Read and write, so that psql sees no end of file between two writers.
as_postgres sh -c 'exec psql -AtX postgres <>"$1/in" >"$1/out" 2>&1' sh "$sql" &
printf '%s\n' 'CREATE TABLE kept (what text);' 'BEGIN;' "INSERT INTO kept VALUES ('before');" \
    "SELECT 'transaction ' || pg_current_xact_id();" >"$sql/in"
wait "$server"
