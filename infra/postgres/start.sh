#!/bin/sh
# Runs PostgreSQL: makes the superuser's password at the first start, and sizes memory by DATABASE_MEMORY_MB, the
# container's limit.
set -eu
memory=${DATABASE_MEMORY_MB:-512}
case $memory in '' | *[!0-9]*) echo "DATABASE_MEMORY_MB is not a number: '$memory'" >&2; exit 2 ;; esac
if [ "$memory" -lt 256 ]; then echo "DATABASE_MEMORY_MB is below 256" >&2; exit 2; fi

password=/secret/superuser.password
if [ ! -s "$password" ]; then # the image's entry point wants one; pg_hba.conf lets nobody use it
    (umask 077 && head -c 32 /dev/urandom | base64 >"$password.new")
    mv "$password.new" "$password"
fi
export POSTGRES_PASSWORD_FILE="$password" POSTGRES_USER=postgres
export POSTGRES_INITDB_ARGS="--auth-local=peer --auth-host=scram-sha-256 --data-checksums --encoding=UTF8 --locale=C"

# The operator's has a certificate: Grafana reads there, and checks it.
set -- postgres -c config_file=/etc/minervas/postgresql.conf
if [ -s /key/server.key ] && [ -s /certificates/database.pem ]; then
    set -- "$@" -c ssl=on -c ssl_key_file=/key/server.key -c ssl_cert_file=/certificates/database.pem \
        -c ssl_min_protocol_version=TLSv1.3
fi

# A quarter for PostgreSQL's own cache; the system's cache takes about half of the rest; work_mem is per sort, so small.
exec docker-entrypoint.sh "$@" \
    -c shared_buffers="$((memory / 4))MB" -c effective_cache_size="$((memory / 2))MB" \
    -c maintenance_work_mem="$((memory / 8))MB" -c work_mem="$((memory / 128))MB"
