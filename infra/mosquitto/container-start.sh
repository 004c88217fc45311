#!/bin/sh
# The broker's container: begins with the certificates that admission published, as entrypoint.sh wants them beside the
# key, at the first start. Later ones are entrypoint.sh's business.
set -eu
pki=${MINERVAS_BROKER_PKI:-/mosquitto/pki}
crl=${MINERVAS_BROKER_CRL:-/mosquitto/crl}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

umask 077
for name in ca.crt server.crt; do
    while [ ! -s "$pki/$name" ]; do
        # The digest is written last.
        if [ -s "$crl/$name.sha256" ] && cp "$crl/$name" "$pki/$name.new" 2>/dev/null; then
            mv "$pki/$name.new" "$pki/$name"
        else
            [ -n "${said:-}" ] || echo "minervas-broker: waiting for admission to publish $name in $crl"
            said=yes
            sleep 0.5
        fi
    done
done
exec "$here/entrypoint.sh" "$@"
