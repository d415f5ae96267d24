#!/bin/sh
# Draws the secrets of two environments, and the password of the superuser of the server that they share.
set -eu
all=${1:-/secrets} shares=${2:-/shares}
for environment in staging production; do
    sh "$(dirname "$0")/secrets.sh" "$all/$environment" "$shares" $environment
done
superuser=$shares/postgres/superuser-password
[ -e "$superuser" ] || head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$superuser"
