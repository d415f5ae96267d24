#!/bin/sh
# Draws passwords and the first token into a volume, each once, and shows then and never again those that people need.
# Each container finds in a volume of its own what it needs, and nothing else.
set -eu
all=${1:-/secrets} shares=${2:-/shares}
cd "$all"
draw() {
    head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >new
    mv new "$1" # at once: its presence says that all of it is there
}
show() {
    if [ -e "$1" ]; then
        echo "$2 is the one shown at the first start"
    else
        draw "$1"
        echo "$2, shown only this once: $(cat "$1")"
    fi
}
give() {
    share=$shares/$1
    shift
    mkdir -p "$share"
    cp "$@" "$share"
}

# Containers run as different users.
umask 022
for who in database admin edge dashboard; do
    [ -e $who-password ] || draw $who-password
done
echo "postgres://flaggery:$(cat database-password)@postgres:5432/flaggery?sslmode=disable" >database-url
echo "postgres://flaggery_admin:$(cat admin-password)@postgres:5432/flaggery?sslmode=disable" >admin-database-url
echo "postgres://flaggery_edge:$(cat edge-password)@postgres:5432/flaggery?sslmode=disable" >edge-database-url
show admin-token "the admin's token"
show grafana-password "Grafana's password of admin"
give postgres database-password
give migrate database-url admin-password edge-password dashboard-password
give admin admin-database-url admin-token
give edge edge-database-url
give grafana dashboard-password grafana-password
