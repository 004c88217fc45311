#!/bin/sh
# Makes roles and databases, as far as they are missing, and sets the roles' passwords, from the verifiers in /logins that
# the services handed in. Runs at every `up` beside the database, through its socket.
set -eu
sql() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username postgres "$@"; }

for name in minervas minervas_admission; do
    # A service that is not part of this node has handed in nothing.
    [ -s "/logins/${name}_owner.scram" ] || continue
    sql --dbname postgres --set name="$name" \
        --set owner_verifier="$(cat "/logins/${name}_owner.scram")" \
        --set writer_verifier="$(cat "/logins/${name}_writer.scram")" \
        --file /usr/local/lib/minervas/roles.sql
    echo "database $name with its roles is there"
done
