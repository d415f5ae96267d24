#!/bin/sh
# Draws passwords and the first token into a volume, each once, and shows the token then and never again.
set -eu
cd "${1:-/secrets}"
draw() {
    head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >new
    mv new "$1" # at once: its presence says that all of it is there
}

# The volume is mounted by those who may read it, and they run as different users.
umask 022
for who in database admin edge dashboard; do
    [ -e $who-password ] || draw $who-password
done
echo "postgres://flaggery:$(cat database-password)@postgres:5432/flaggery?sslmode=disable" >database-url
echo "postgres://flaggery_admin:$(cat admin-password)@postgres:5432/flaggery?sslmode=disable" >admin-database-url
echo "postgres://flaggery_edge:$(cat edge-password)@postgres:5432/flaggery?sslmode=disable" >edge-database-url
if [ -e admin-token ]; then
    echo "the admin's token is the one shown at the first start"
else
    draw admin-token
    echo "the admin's token, shown only this once: $(cat admin-token)"
fi
