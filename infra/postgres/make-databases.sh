#!/bin/sh
# Makes roles and databases, as far as they are missing, and sets the roles' passwords, from the verifiers in /logins that
# the services handed in: those of a node, and the operator's. Runs at every `up` beside the database, through its socket.
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

if [ -s /logins/grafana.scram ]; then # Grafana's own state
    sql --dbname postgres --set role=grafana --set verifier="$(cat /logins/grafana.scram)" \
        --file /usr/local/lib/minervas/login.sql
    sql --dbname postgres --file /usr/local/lib/minervas/grafana.sql
    echo "database grafana with its role is there"
fi
if [ -s /logins/minervas_readers.scram ]; then # who opens and closes the members' readers of the operator's ledger
    sql --dbname postgres --set role=minervas_readers --set verifier="$(cat /logins/minervas_readers.scram)" \
        --file /usr/local/lib/minervas/login.sql
    sql --dbname minervas --command "SET minervas.writer = 'minervas_writer'; SET minervas.access = 'minervas_readers'" \
        --file /usr/local/lib/minervas/readers.sql
    echo "readers of the ledger's database can be opened"
fi
