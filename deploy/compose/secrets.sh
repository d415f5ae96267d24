#!/bin/sh
# Draws passwords and the first token into a volume, once, and shows the token then and never again.
set -eu
cd "${1:-/secrets}"
if [ -e admin-token ]; then
    echo "the admin's token is the one shown at the first start"
    exit
fi
draw() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

# The volume is mounted by those who may read it, and they run as different users.
umask 022
draw >database-password
draw >admin-password
draw >edge-password
echo "postgres://flaggery:$(cat database-password)@postgres:5432/flaggery?sslmode=disable" >database-url
echo "postgres://flaggery_admin:$(cat admin-password)@postgres:5432/flaggery?sslmode=disable" >admin-database-url
echo "postgres://flaggery_edge:$(cat edge-password)@postgres:5432/flaggery?sslmode=disable" >edge-database-url
token=$(draw)
echo "$token" >new-token
mv new-token admin-token # last and at once: its presence says that all is there
echo "the admin's token, shown only this once: $token"
