#!/bin/sh
# At PostgreSQL's first start: a database with roles of its own for each environment.
set -eu
for environment in staging production; do
    secrets=${1:-/secrets}/$environment
    psql --no-psqlrc --username "$POSTGRES_USER" --set ON_ERROR_STOP=1 --set environment=$environment \
        --set owner_password="$(cat "$secrets/database-password")" --set admin_password="$(cat "$secrets/admin-password")" \
        --set edge_password="$(cat "$secrets/edge-password")" --file "${2:-/environment.sql}" postgres
done
