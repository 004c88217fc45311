#!/bin/sh
# Health check of the broker's container: Mosquitto listens. The image has neither a TLS client nor a certificate to log
# in with; that the broker works is what admission and the nodes say, which are connected or not healthy.
port=$(printf '%04X' "${MINERVAS_BROKER_PORT:-8883}")
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q "^ *[0-9]*: [0-9A-F]*:$port [0-9A-F]*:0000 0A "
