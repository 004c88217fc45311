#!/bin/sh
# Restores a backup into an empty host: sh infra/tools/restore.sh FILE [--chain FILE | --without-chain] [...]
# FILE and the chain are in the directory of backups (BACKUP_DIR). On an operator's host one of the last two is needed.
set -eu
cd "$(dirname "$0")/../.."
file=${1:?the name of a file in the directory of backups}
shift
program=minervas
if docker compose config --services | grep -qx admission; then program=minervas-admission; fi
docker compose up --detach --no-deps --wait database
# In the directory of backups, so that names mean files there, also on the command line.
status=0
docker compose run --rm --no-deps --workdir /backups tools "$program" restore "$file" \
    --backup-config "/etc/minervas/$([ "$program" = minervas ] || echo operator-)backup.toml" \
    $([ "$program" = minervas ] || echo --config /etc/minervas/admission.toml) "$@" || status=$?
docker compose down # the database starts anew, with the certificate that came back
[ "$status" -eq 0 ] && echo "restored; now: docker compose up --detach"
exit "$status"
