#!/bin/sh
# Health check of the database's container: it answers a query, and listens for the network (not while it is being made).
pg_isready --quiet --host 127.0.0.1 \
    && [ "$(psql --no-psqlrc --tuples-only --no-align --username postgres --command 'SELECT 1')" = 1 ]
